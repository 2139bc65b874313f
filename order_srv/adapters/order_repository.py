"""Orders: each method that writes is one transaction.

A move answers with the state that each row is in after it, whoever brought it there (`order_moves.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from itertools import chain
from typing import Final

import peewee

from common.batching import GroupCommit
from common.database import Database, DatabaseUnavailable, marks, padded
from common.deadline import Deadline
from order_srv.adapters import rows, statements
from order_srv.adapters.models import OrderRow
from order_srv.adapters.order_moves import OrderMoves
from order_srv.adapters.statements import Transition
from order_srv.domain.messages import Reback
from order_srv.domain.order import Event, EventKind, Order
from order_srv.domain.order_request import RequestKey
from order_srv.domain.order_state import (
    CLOSE_CAUSES,
    DEAD,
    Cause,
    Closing,
    Move,
    OrderStatus,
    State,
    move_for_cause,
    move_for_check_back,
)

_REQUESTS_AT_ONCE: Final = 32  # a server's time to plan an OR of keys grows with their square


class RequestsTaken(Exception):
    """Some of these requests have made orders before; nothing was written."""

    def __init__(self, taken: set[tuple[int, str]]) -> None:
        super().__init__(f"{len(taken)} requests made orders before")
        self.taken = taken


@dataclass(frozen=True, slots=True)
class EarlierOrder:
    """The order that a request made before."""

    order_sn: str
    content_hash: str
    state: State


@dataclass(frozen=True, slots=True)
class Opened:
    """An order was sold and its timeout is set: to UNPAID, and what it bought leaves the cart it came from."""

    order: Order
    steps: Sequence[Event]
    from_cart: bool


@dataclass(frozen=True, slots=True)
class Failed:
    """An order ends: to FAILED after `steps`. It `owes` its stock unless inventory took nothing and never will."""

    reason: str
    owes: bool
    steps: Sequence[Event] = ()


class OrderRepository:
    """Orders, as creating and closing them needs.

    Args:
        database: Where they are.
        return_after: How long after an order died the sweeper asks whether its stock is back.
    """

    def __init__(self, database: Database, *, return_after: timedelta) -> None:
        self._database = database
        self._return_after = return_after
        self._moves = OrderMoves(database)
        self._earlier = GroupCommit(
            self._find_earlier, shared_errors=DatabaseUnavailable, largest_batch=_REQUESTS_AT_ONCE, at_once=4
        )

    def get(self, order_sn: str) -> Order | None:
        """Read one order as it is now."""
        with self._database.snapshot():
            found = self._database.select(OrderRow.select().where(OrderRow.order_sn == order_sn))
            return rows.load(self._database, found)[0] if found else None

    def statuses(self, order_sns: Sequence[str]) -> dict[str, OrderStatus]:
        """Where these orders stand, read quickly; those that do not exist are left out."""
        with self._database.reading():
            return self._moves.statuses(order_sns)

    # Create

    def earlier_order(self, user_id: int, request_id: str, deadline: Deadline | None = None) -> EarlierOrder | None:
        """Look a request up. One whose order failed made none.

        Raises:
            DeadlineExceeded: The caller no longer waits.
            DatabaseUnavailable: It can't be looked up.
        """
        return self._earlier.submit((user_id, request_id), deadline)

    def _find_earlier(self, requests: Sequence[tuple[int, str]]) -> list[EarlierOrder | None]:
        with self._database.reading():
            here = padded(requests)
            asked = _of_requests("user_id, request_id, order_sn, request_hash, state", len(here))
            found = self._database.execute(asked, list(chain.from_iterable(here))).fetchall()
        earlier = {(row[0], row[1]): EarlierOrder(row[2], row[3], State(row[4])) for row in found}
        return [earlier.get(request) for request in requests]

    def add_all(self, orders: Sequence[tuple[Order, RequestKey]]) -> None:
        """Write new orders down as CREATING, all or none.

        Raises:
            RequestsTaken: Some of these requests have orders already.
            CommitUnknown: They may or may not be there.
            DatabaseUnavailable: They are not.
        """
        try:
            self._database.write(lambda: self._database.at_commit(statements.inserting(self._database, orders)))
        except peewee.IntegrityError as error:
            raise RequestsTaken(self._taken([(order.user_id, key.request_id) for order, key in orders])) from error

    def _taken(self, requests: Sequence[tuple[int, str]]) -> set[tuple[int, str]]:
        taken: set[tuple[int, str]] = set()
        for done in range(0, len(requests), _REQUESTS_AT_ONCE):
            some = requests[done : done + _REQUESTS_AT_ONCE]
            found = self._find_earlier(some)
            taken |= {request for request, earlier in zip(some, found, strict=True) if earlier is not None}
        return taken

    def settle_all(self, endings: Mapping[str, Opened | Failed], now: datetime) -> dict[str, OrderStatus]:
        """End the creation of these orders, those that are still CREATING; where each stands after it.

        Raises:
            CommitUnknown: It is not known.
            DatabaseUnavailable: Nothing was written.
        """

        def choose(order_sn: str, status: OrderStatus) -> Transition | None:
            if status.state is not State.CREATING:
                return None
            match endings[order_sn]:
                case Opened(order, steps, from_cart):
                    return statements.opened(steps, order, from_cart=from_cart)
                case Failed(reason, owes, steps):
                    return statements.failed(reason, now, now + self._return_after if owes else None, steps)

        opened = {order_sn: _created(each.order) for order_sn, each in endings.items() if isinstance(each, Opened)}
        return self._moves.move(list(endings), choose, now, likely=opened if len(opened) == len(endings) else None)

    # Close

    def close_all(self, cause: Cause, reasons: Mapping[str, str], now: datetime) -> dict[str, OrderStatus]:
        """Close those of these orders that are in the state for it; where each stands after it.

        A timeout closes an order that is due, a cancel an UNPAID one, a refund a PAID one, whose payment becomes
        REFUND_DUE.

        Args:
            cause: What closes them.
            reasons: The words of whoever wants it, by order_sn.
            now: When.

        Raises:
            CommitUnknown: It is not known.
            DatabaseUnavailable: Nothing was written.
        """

        def choose(order_sn: str, status: OrderStatus) -> Transition | None:
            if move_for_cause(cause, status, now) is None:
                return None
            closing = Closing(CLOSE_CAUSES[cause], reasons[order_sn])
            return statements.closed(status.state, closing, now, now + self._return_after)

        return self._moves.move(list(reasons), choose, now)

    def answer_check_back(
        self, reback: Reback, now: datetime, *, creating_grace: timedelta
    ) -> dict[str, OrderStatus | None]:
        """Make the moves that a check-back asks for, and write down, once, that the broker asked.

        Args:
            reback: The half message.
            now: When.
            creating_grace: How long an order may be CREATING.

        Returns:
            Where each order stands after it; None: there is no such row.

        Raises:
            DatabaseUnavailable: The rows can't be read, or the outcome is not known: the broker will ask again.
        """
        reasons = {each.order_sn: each.reason for each in reback.orders}

        def choose(order_sn: str, status: OrderStatus) -> Transition | None:
            match move_for_check_back(reback.cause, status, now, creating_grace):
                case None:
                    return None
                case Move.FAIL:
                    return statements.failed(statements.ABANDONED, now, now + self._return_after)
                case Move.CLOSE | Move.REFUND:
                    closing = Closing(CLOSE_CAUSES[reback.cause], reasons[order_sn])
                    return statements.closed(status.state, closing, now, now + self._return_after)

        def work() -> dict[str, OrderStatus]:
            asked = Event(EventKind.ASKED_BY_BROKER, now, f"{reback.cause}, sent {reback.sent_time.isoformat()}")
            moved = self._moves.move_within(list(reasons), choose, now)
            self._note_once(list(moved), asked)
            return moved

        moved = self._database.write(work)
        return {order_sn: moved.get(order_sn) for order_sn in reasons}

    def _note_once(self, order_sns: Sequence[str], step: Event) -> None:
        """Write a step down for those of these orders that do not have it yet."""
        if not order_sns:
            return
        here = padded(order_sns)
        asked = f"SELECT order_sn FROM order_event WHERE order_sn IN ({marks(len(here))}) AND kind = ? AND detail = ?"  # noqa: S608
        found = self._database.execute(asked, (*here, step.kind.value, step.detail)).fetchall()
        new = [(order_sn, step) for order_sn in order_sns if (order_sn,) not in found]
        self._database.at_commit(statements.noting(self._database, new))

    def finish(self, order_sn: str, now: datetime) -> OrderStatus | None:
        """Move PAID to FINISHED; where the order stands after it, None when there is none.

        Raises:
            CommitUnknown: It is not known.
            DatabaseUnavailable: Nothing was written.
        """

        def choose(_: str, status: OrderStatus) -> Transition | None:
            if status.state is not State.PAID:
                return None
            return Transition(State.PAID, {"state": State.FINISHED}, (Event(EventKind.FINISHED, now),))

        return self._moves.move([order_sn], choose, now).get(order_sn)

    def hurry_returns(self, order_sns: Sequence[str], now: datetime) -> None:
        """Let the sweeper ask for the stock of these dead orders now, unless it has asked for it before."""
        soon = (
            OrderRow.order_sn.in_(order_sns)
            & OrderRow.state.in_(sorted(DEAD))
            & (OrderRow.return_due > now)
            & (OrderRow.return_tries == 0)
        )
        self._database.write(lambda: self._database.run(OrderRow.update(return_due=now).where(soon)))


def _created(order: Order) -> OrderStatus:
    return OrderStatus(State.CREATING, owes=False, create_time=order.create_time, expire_time=order.expire_time)


@cache
def _of_requests(columns: str, requests: int) -> str:
    each = " OR ".join(["(user_id = ? AND request_id = ?)"] * requests)
    return f"SELECT {columns} FROM orders WHERE {each}"  # noqa: S608 made of our own words
