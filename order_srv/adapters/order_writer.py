"""Writes orders down and moves them, merging what many threads want at the same moment into one transaction.

Whoever it is that wants them, merged writes are independent of each other: orders that are new, and moves of different
orders. What can't be done together (two replicas wrote one request, an order is not in the state that its move wants)
is done one by one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from common.batching import GroupCommit, NotBatchable
from common.database import Database, DatabaseUnavailable
from order_srv.adapters.statements import Statements
from order_srv.domain.order import Event, Order
from order_srv.domain.order_request import RequestKey
from order_srv.domain.order_state import Closing, State


@dataclass(frozen=True, slots=True)
class Add:
    """A new order to write down."""

    order: Order
    request: RequestKey

    @property
    def order_sn(self) -> str:
        return self.order.order_sn

    @property
    def key(self) -> tuple[int, str]:
        return self.order.user_id, self.request.request_id


@dataclass(frozen=True, slots=True)
class Open:
    """An order to move to UNPAID."""

    order: Order
    steps: Sequence[Event]
    now: datetime
    from_cart: bool

    @property
    def order_sn(self) -> str:
        return self.order.order_sn


@dataclass(frozen=True, slots=True)
class Close:
    """An order to move to CLOSED."""

    order_sn: str
    closing: Closing
    now: datetime


Wanted = Add | Open | Close


class OrderWriter:
    """Carries out one wanted write at a call; returns once it is committed.

    Args:
        database: Where orders are.
        return_after: How long after an order died the sweeper asks whether its stock is back.
    """

    def __init__(self, database: Database, return_after: timedelta) -> None:
        self._database = database
        self._statements = Statements(database)
        self._return_after = return_after
        self._merged = GroupCommit(self.write_batch, shared_errors=DatabaseUnavailable)

    def write(self, wanted: Wanted) -> State | None:
        """Carry it out.

        Returns:
            The state that its row is in after it. None: there is no such row, or the request of a new order is taken.

        Raises:
            IntegrityError: Another replica has just taken the request.
            CommitUnknown: It may or may not be written.
            DatabaseUnavailable: It is not written.
        """
        return self._merged.submit(wanted)

    def write_batch(self, wanted: Sequence[Wanted]) -> list[State | None]:
        """Carry out what came at the same moment, in one transaction, all or nothing.

        Returns:
            For each the state of its row; None for one to add whose request is taken already.

        Raises:
            NotBatchable: Not all of several could be done, so that nothing is.
        """
        return self._database.write(lambda: self._write_all(wanted))

    def _write_all(self, wanted: Sequence[Wanted]) -> list[State | None]:
        states: dict[str, State | None] = {}
        states |= dict.fromkeys(self._added([each for each in wanted if isinstance(each, Add)]), State.CREATING)
        states |= self._opened([each for each in wanted if isinstance(each, Open)])
        closings: dict[Closing, list[Close]] = {}
        for each in wanted:
            if isinstance(each, Close):
                closings.setdefault(each.closing, []).append(each)
        for alike in closings.values():
            states |= self._closed(alike)
        return [states.get(each.order_sn) for each in wanted]

    def _added(self, adding: Sequence[Add]) -> list[str]:
        """The order_sns of those that are written; of two with the same request the first."""
        if not adding:
            return []
        taken = self._statements.taken([each.key for each in adding])
        new = {each.key: each for each in reversed(adding) if each.key not in taken}.values()
        self._statements.insert_orders([(each.order, each.request) for each in new])
        return [each.order_sn for each in new]

    def _opened(self, opening: Sequence[Open]) -> dict[str, State | None]:
        if not opening:
            return {}
        now = max(each.now for each in opening)
        if not self._statements.move_to_unpaid({each.order_sn: each.steps for each in opening}, now):
            return self._states_apart(opening)
        for each in opening:
            if each.from_cart:
                self._statements.leave_cart(each.order)
        return dict.fromkeys((each.order_sn for each in opening), State.UNPAID)

    def _closed(self, closing: Sequence[Close]) -> dict[str, State | None]:
        now, order_sns = max(each.now for each in closing), [each.order_sn for each in closing]
        if not self._statements.close_orders(order_sns, closing[0].closing, now, now + self._return_after):
            return self._states_apart(closing)
        return dict.fromkeys(order_sns, State.CLOSED)

    def _states_apart(self, wanted: Sequence[Open | Close]) -> dict[str, State | None]:
        """Zero rows prove nothing: what the row of a single one says. Of several nobody knows which was not moved."""
        if len(wanted) > 1:
            raise NotBatchable
        order_sn = wanted[0].order_sn
        return {order_sn: self._statements.state(order_sn)}
