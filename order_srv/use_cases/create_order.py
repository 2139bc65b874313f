"""CreateOrder: a request, its repeats, its answer. How the order is created: `create_group.py`."""

import time
from threading import BoundedSemaphore
from typing import Final

from common.batching import Groups
from common.deadline import Deadline
from order_srv.adapters.order_repository import EarlierOrder, OrderRepository
from order_srv.domain.errors import DifferentContent, state_forbids
from order_srv.domain.new_order import MOST_ORDERS, NewOrder, fits
from order_srv.domain.order import Order
from order_srv.domain.order_request import OrderRequest
from order_srv.domain.order_state import State
from order_srv.use_cases.create_group import CreateGroup, HasEarlierOrder, NotWritten

_NEAR_DEADLINE_S: Final = 0.2
_FIRST_LOOK_S: Final = 0.01
_LONGEST_PAUSE_S: Final = 0.2


class CreateOrder:
    """Creates orders, those of one moment together.

    Args:
        orders: Orders.
        group: Creates the orders of one moment.
        waiters: How many callers may wait for another's CREATING order; others get UNAVAILABLE at once.

    Attributes:
        group, waiting: Here for tests.
    """

    def __init__(self, *, orders: OrderRepository, group: CreateGroup, waiters: int) -> None:
        self._orders = orders
        self.group = group
        self.waiting: Groups[NewOrder, Order] = Groups(group.execute, fits=fits, largest=MOST_ORDERS, beside=1)
        self._waiters = BoundedSemaphore(max(1, waiters))

    def execute(self, request: OrderRequest, deadline: Deadline, traceparent: str = "") -> Order:
        """Create the order, or return the one that this request created before.

        Args:
            request: What is wanted.
            deadline: Until when the caller waits.
            traceparent: The W3C trace context of the call; empty: it has none.

        Raises:
            DifferentContent: The request_id was used for something else.
            FailedPrecondition, NotFound: The price book or inventory refused; the same request may be made again.
            OrderFailed: It failed on the way; its stock goes back.
            DeadlineExceeded: The caller no longer waits.
            Unavailable, ResourceExhausted: Safe to repeat.
        """
        while True:
            try:
                return self.waiting.submit(NewOrder(request, deadline, traceparent), deadline)
            except NotWritten as refused:
                earlier = self._earlier(request, deadline)
                if earlier is None:
                    raise refused.refusal from None
            except HasEarlierOrder:
                earlier = self._earlier(request, deadline)
            if earlier is not None:  # else whoever had the request has failed by now
                return self._repeated(earlier, request)

    def _earlier(self, request: OrderRequest, deadline: Deadline) -> EarlierOrder | None:
        """The order that this request made before, at rest."""
        earlier = self._orders.earlier_order(request.user_id, request.request_id, deadline)
        if earlier is None or earlier.state is not State.CREATING:
            return earlier
        if not self._waiters.acquire(blocking=False):
            raise state_forbids(earlier.order_sn, State.CREATING)
        try:
            return self._earlier_at_rest(request, deadline)
        finally:
            self._waiters.release()

    def _earlier_at_rest(self, request: OrderRequest, deadline: Deadline) -> EarlierOrder | None:
        pause = _FIRST_LOOK_S
        while True:
            earlier = self._orders.earlier_order(request.user_id, request.request_id, deadline)
            if earlier is None or earlier.state is not State.CREATING:
                return earlier
            if deadline.remaining() <= _NEAR_DEADLINE_S:
                raise state_forbids(earlier.order_sn, State.CREATING)
            time.sleep(min(pause, deadline.remaining()))
            pause = min(pause * 2, _LONGEST_PAUSE_S)

    def _repeated(self, earlier: EarlierOrder, request: OrderRequest) -> Order:
        if earlier.content_hash != request.content_hash():
            raise DifferentContent("request_id", request.request_id)
        order = self._orders.get(earlier.order_sn)
        assert order is not None, "orders are never deleted"
        return order
