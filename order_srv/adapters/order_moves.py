"""How orders are moved.

Their rows are held, what becomes of each is chosen by what its row says, and all is written in one trip with COMMIT. So
a move answers with the state that each row is in after it, whoever brought it there.

Who knows where orders stand, but for what somebody else may have done meanwhile, spares the trip that holds them: each
change of state is guarded by the state that it leaves. If one finds its row elsewhere, nothing is written, and the move
begins again with the rows held.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache

from common.database import (
    Database,
    Overtaken,
    Statement,
    from_micros,
    marks,
    padded,
    to_micros,
)
from order_srv.adapters import statements
from order_srv.adapters.models import PaymentRow
from order_srv.adapters.statements import Transition
from order_srv.domain.order import Event, EventKind
from order_srv.domain.order_state import OrderStatus, State
from order_srv.domain.payment import Outcome, RefundReason

Choose = Callable[[str, OrderStatus], Transition | None]
"""What becomes of an order, by its number and where it stands; None: it stays as it is."""


class OrderMoves:
    """Moves orders in a database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def move(
        self,
        order_sns: Sequence[str],
        choose: Choose,
        now: datetime,
        *,
        likely: Mapping[str, OrderStatus] | None = None,
    ) -> dict[str, OrderStatus]:
        """Move orders in one transaction.

        Args:
            order_sns: Which.
            choose: Called with each that exists.
            now: When.
            likely: Where all of them stand, unless somebody else moved one meanwhile; None: nobody knows. `choose` has
                to move them all from there.

        Returns:
            Where each that exists stands after it.

        Raises:
            CommitUnknown: Nobody knows what became of it.
            DatabaseUnavailable: Nothing was written.
        """
        assumed = [likely] if likely else []

        def work() -> dict[str, OrderStatus]:
            return self._moved(assumed.pop() if assumed else self.held(order_sns), choose, now)

        return self._database.write_again(work, repeat_on=Overtaken)

    def move_within(self, order_sns: Sequence[str], choose: Choose, now: datetime) -> dict[str, OrderStatus]:
        """The same within a transaction that is open already."""
        return self._moved(self.held(order_sns), choose, now)

    def _moved(self, held: Mapping[str, OrderStatus], choose: Choose, now: datetime) -> dict[str, OrderStatus]:
        chosen = {order_sn: choose(order_sn, status) for order_sn, status in held.items()}
        transitions = {order_sn: each for order_sn, each in chosen.items() if each is not None}
        refunds = self._refunding([order_sn for order_sn, each in transitions.items() if each.refunds], now)
        self._database.at_commit((), statements.moving(transitions, now))
        self._database.at_commit([*statements.steps_of(self._database, transitions), *refunds])
        return dict(held) | {
            order_sn: replace(held[order_sn], state=each.target, owes=each.changes.get("return_due") is not None)
            for order_sn, each in transitions.items()
        }

    def held(self, order_sns: Sequence[str]) -> dict[str, OrderStatus]:
        """Where orders stand, their rows held, in the order of their numbers, until the transaction ends."""
        return self.statuses(order_sns, f" ORDER BY order_sn{self._database.for_update}")

    def statuses(self, order_sns: Sequence[str], ending: str = "") -> dict[str, OrderStatus]:
        """Where orders stand; those that do not exist are left out."""
        here = padded(order_sns)
        found = self._database.execute(_select_statuses(len(here)) + ending, here).fetchall() if here else []
        return {
            order_sn: OrderStatus(State(state), due is not None, from_micros(added), from_micros(expires))
            for order_sn, state, due, added, expires in found
        }

    def _refunding(self, order_sns: Sequence[str], now: datetime) -> list[Statement]:
        """What makes the applied payments of these orders REFUND_DUE."""
        if not order_sns:
            return []
        applied = (PaymentRow.order_sn.in_(order_sns)) & (PaymentRow.outcome == Outcome.APPLIED)
        payments = self._database.select(self._database.locking(PaymentRow.select().where(applied)))
        values = (Outcome.REFUND_DUE.value, RefundReason.ORDER_REFUNDED.value, to_micros(now))
        steps = [(row.order_sn, Event(EventKind.REFUND_DUE, now, row.payment_id)) for row in payments]
        due = "UPDATE payment SET outcome = ?, refund_reason = ?, update_time = ? WHERE payment_id = ?"
        return [
            *((due, (*values, row.payment_id)) for row in payments),
            *statements.noting(self._database, steps),
        ]


@cache
def _select_statuses(orders: int) -> str:
    columns = "order_sn, state, return_due, add_time, expire_time"
    return f"SELECT {columns} FROM orders WHERE order_sn IN ({marks(orders)})"  # noqa: S608 our own words
