"""Finishing an order that was delivered."""

from common.clock import Clock
from common.database import CommitUnknown
from order_srv.adapters.order_repository import OrderRepository
from order_srv.domain.errors import OrderNotFound, OutcomeUnknown, state_forbids
from order_srv.domain.order import Order
from order_srv.domain.order_state import State


class FinishOrder:
    def __init__(self, *, orders: OrderRepository, clock: Clock) -> None:
        self._orders = orders
        self._clock = clock

    def execute(self, order_sn: str) -> Order:
        """Move PAID to FINISHED; one that is finished already is returned as it is.

        Raises:
            OrderNotFound: There is none.
            FailedPrecondition: It is not paid.
            Unavailable: It is being created, or the outcome is not known.
        """
        try:
            status = self._orders.finish(order_sn, self._clock.now())
        except CommitUnknown:
            raise OutcomeUnknown(order_sn) from None
        if status is None:
            raise OrderNotFound(order_sn)
        if status.state is not State.FINISHED:
            raise state_forbids(order_sn, status.state)
        order = self._orders.get(order_sn)
        assert order is not None, "orders are never deleted"
        return order
