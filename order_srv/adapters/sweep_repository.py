"""What the sweeper reads and writes: orders whose messages were lost, and the stock that dead orders owe."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog

from common.database import Database, DatabaseUnavailable, marks, to_micros
from order_srv.adapters import statements
from order_srv.adapters.models import OrderRow
from order_srv.adapters.order_moves import Choose, OrderMoves
from order_srv.adapters.statements import ABANDONED, Transition
from order_srv.domain.order import Event, EventKind
from order_srv.domain.order_state import CloseCause, Closing, OrderStatus, State

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class OwedReturn:
    """A dead order whose stock was not yet seen to be back, and how often inventory was asked for it."""

    order_sn: str
    tries: int


class SweepRepository:
    """Orders that are overdue, abandoned, or owe their stock; in pages, by index."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._moves = OrderMoves(database)

    def close_overdue(self, expired_before: datetime, now: datetime, limit: int) -> list[str]:
        """Close a page of UNPAID orders whose time is long over; they owe their stock at once."""
        closing = Closing(CloseCause.TIMEOUT)

        def choose(_: str, status: OrderStatus) -> Transition | None:
            overdue = status.state is State.UNPAID and status.expire_time < expired_before
            return statements.closed(State.UNPAID, closing, now, now) if overdue else None

        page = self._page("state = ? AND expire_time < ?", (State.UNPAID, expired_before), "expire_time", limit)
        return self._swept(page, choose, now)

    def fail_abandoned(self, created_before: datetime, now: datetime, limit: int) -> list[str]:
        """Fail a page of orders that stayed CREATING past their grace; they owe their stock at once."""

        def choose(_: str, status: OrderStatus) -> Transition | None:
            abandoned = status.state is State.CREATING and status.create_time < created_before
            return statements.failed(ABANDONED, now, now) if abandoned else None

        page = self._page("state = ? AND add_time < ?", (State.CREATING, created_before), "add_time", limit)
        return self._swept(page, choose, now)

    def _page(self, due: str, values: tuple[State, datetime], oldest: str, limit: int) -> list[str]:
        page = f"SELECT order_sn FROM orders WHERE {due} ORDER BY {oldest} LIMIT {limit}"  # noqa: S608 our words
        with self._database.reading():
            found = self._database.execute(page, (values[0].value, to_micros(values[1])))
            return [order_sn for (order_sn,) in found.fetchall()]

    def _swept(self, page: Sequence[str], choose: Choose, now: datetime) -> list[str]:
        """The orders of a page, once they are moved; those that someone else moved meanwhile count as well.

        One that can't be moved is left out, and keeps no other from it.
        """
        if not page:
            return []
        try:
            self._moves.move(page, choose, now)
        except DatabaseUnavailable:
            raise
        except Exception as error:
            log.warning("a page of orders could not be moved: they are moved one by one", exc_info=error)
            return [order_sn for order_sn in page if self._swept_alone(order_sn, choose, now)]
        return list(page)

    def _swept_alone(self, order_sn: str, choose: Choose, now: datetime) -> bool:
        try:
            self._moves.move([order_sn], choose, now)
        except DatabaseUnavailable:
            raise
        except Exception:
            log.exception("an order could not be moved", order_sn=order_sn)
            return False
        return True

    def owed_returns(self, now: datetime, limit: int) -> list[OwedReturn]:
        """A page of dead orders whose stock is due to be checked, longest due first."""
        with self._database.reading():
            due = (
                OrderRow.select(OrderRow.order_sn, OrderRow.return_tries)
                .where(OrderRow.return_due <= now)
                .order_by(OrderRow.return_due)
                .limit(limit)
            )
            return [OwedReturn(row.order_sn, row.return_tries) for row in self._database.select(due)]

    def stock_returned(self, order_sns: Sequence[str], now: datetime) -> None:
        """Clear what these orders owe: inventory said that their sales are RETURNED."""

        def work() -> None:
            owing = sorted(order_sn for order_sn, status in self._moves.held(order_sns).items() if status.owes)
            steps = [(order_sn, Event(EventKind.STOCK_RETURNED, now)) for order_sn in owing]
            clear = f"UPDATE orders SET return_due = NULL, update_time = ? WHERE order_sn IN ({marks(len(owing))})"  # noqa: S608
            clearing = [(clear, (to_micros(now), *owing))] if owing else []
            self._database.at_commit([*clearing, *statements.noting(self._database, steps)])

        if order_sns:
            self._database.write(work)

    def put_off_return(self, order_sn: str, until: datetime) -> None:
        """Ask inventory about this order again later."""
        later = OrderRow.update(return_due=until, return_tries=OrderRow.return_tries + 1)
        owing = (OrderRow.order_sn == order_sn) & OrderRow.return_due.is_null(is_null=False)
        self._database.write(lambda: self._database.run(later.where(owing)))
