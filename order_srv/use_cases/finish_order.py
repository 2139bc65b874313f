"""Finishing an order that was delivered."""

from common.clock import Clock
from order_srv.adapters.order_repository import OrderRepository
from order_srv.domain.errors import OrderNotFound, outcome_unknown, state_forbids
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
        state = self._orders.finish(order_sn, self._clock.now())
        order = self._orders.get(order_sn)
        if order is None:
            raise OrderNotFound(order_sn)
        if state is None or state is State.PAID:
            raise outcome_unknown(order_sn)
        if state is not State.FINISHED:
            raise state_forbids(order_sn, state)
        return order
