"""CreateOrder: sells stock inside the half message that gives it back when anything fails."""

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from threading import BoundedSemaphore
from typing import Final

from common.clock import Clock
from common.crash_points import CrashHook
from common.deadline import Deadline
from common.errors import DeadlineExceeded, DomainError, FailedPrecondition
from common.messaging.port import Broker, BrokerUnavailable, Resolution
from order_srv.adapters.cart_repository import CartRepository
from order_srv.adapters.goods_repository import GoodsRepository
from order_srv.adapters.order_repository import EarlierOrder, OrderRepository, RequestTaken
from order_srv.adapters.stock_client import Refused, StockClient, StockUnclear
from order_srv.crash_points import CrashPoint
from order_srv.domain import refusal_codec
from order_srv.domain.errors import DifferentContent, OrderFailed, outcome_unknown, state_forbids
from order_srv.domain.messages import Reback, Timeout
from order_srv.domain.order import Event, EventKind, Order
from order_srv.domain.order_request import OrderRequest, RequestKey
from order_srv.domain.order_sn import new_order_sn
from order_srv.domain.order_state import Cause, State, resolution
from order_srv.domain.pricing import MAX_LINES, NothingSelected, TooManyLines, price, summed

_AFTER_SELL_S: Final = 1.0  # of the deadline, reserved for the steps after the sell
_NEAR_DEADLINE_S: Final = 0.2
_FIRST_LOOK_S: Final = 0.01
_LONGEST_PAUSE_S: Final = 0.2


class CreateOrder:
    """Creates orders.

    Args:
        orders: Orders and payments.
        goods: The price book.
        carts: Users' carts.
        stock: Inventory.
        broker: Carries the half message and the timeout.
        clock: The one clock.
        pay_within: How long an order may stay UNPAID.
        waiters: How many callers may wait for another's CREATING order; others get UNAVAILABLE at once.
        crash_hook: Called at each crash point.
    """

    def __init__(
        self,
        *,
        orders: OrderRepository,
        goods: GoodsRepository,
        carts: CartRepository,
        stock: StockClient,
        broker: Broker,
        clock: Clock,
        pay_within: timedelta,
        waiters: int,
        crash_hook: CrashHook,
    ) -> None:
        self.orders = orders
        self.stock = stock
        self.broker = broker
        self.clock = clock
        self.crash_hook = crash_hook
        self._goods = goods
        self._carts = carts
        self._pay_within = pay_within
        self._waiters = BoundedSemaphore(max(1, waiters))

    def execute(self, request: OrderRequest, deadline: Deadline) -> Order:
        """Create the order, or return the one that this request created before.

        Raises:
            DifferentContent: The request_id was used for something else.
            FailedPrecondition, NotFound: The price book or inventory refused.
            OrderFailed: It failed on the way; its stock goes back.
            Unavailable: Safe to repeat.
        """
        try:
            order = self._written_down(request, deadline)
        except (RequestTaken, FailedPrecondition) as refused:  # perhaps a repeat, and it bought what is missing now
            earlier = self._earlier(request, deadline)
            if earlier is not None:
                return self._repeated(earlier, request)
            if isinstance(refused, RequestTaken):  # whoever had it has failed by now
                return self.execute(request, deadline)
            raise
        self.crash_hook(CrashPoint.CREATE_INSERTED)
        attempt = _CreateTransaction(self, order, deadline, from_cart=not request.lines)
        reback = Reback(order.order_sn, Cause.CREATE, order.create_time)
        try:
            self.broker.in_transaction(reback.to_message(), attempt.sell_and_open)
        except BrokerUnavailable:
            self.crash_hook(CrashPoint.CREATE_HALF_NOT_SENT)
            self.orders.fail(order.order_sn, "BROKER_UNAVAILABLE", self.clock.now())
            raise
        self.crash_hook(CrashPoint.CREATE_ANSWERED)
        return attempt.outcome()

    def _earlier(self, request: OrderRequest, deadline: Deadline) -> EarlierOrder | None:
        earlier = self.orders.earlier_order(request.user_id, request.request_id)
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
            earlier = self.orders.earlier_order(request.user_id, request.request_id)
            if earlier is None or earlier.state is not State.CREATING:
                return earlier
            if deadline.remaining() <= _NEAR_DEADLINE_S:
                raise state_forbids(earlier.order_sn, State.CREATING)
            time.sleep(min(pause, deadline.remaining()))
            pause = min(pause * 2, _LONGEST_PAUSE_S)

    def _repeated(self, earlier: EarlierOrder, request: OrderRequest) -> Order:
        if earlier.content_hash != request.content_hash():
            raise DifferentContent("request_id", request.request_id)
        if earlier.refusal is not None:
            raise earlier.refusal
        order = self.orders.get(earlier.order_sn)
        assert order is not None, "orders are never deleted"
        return order

    def _written_down(self, request: OrderRequest, deadline: Deadline) -> Order:
        order = self._priced(request)
        self.stock.reject_known_shortage({line.sku: line.quantity for line in order.lines}, deadline)
        if deadline.passed:
            raise DeadlineExceeded("the deadline passed before anything was written")
        self.orders.add(order, RequestKey(request.request_id, request.content_hash()))
        return order

    def _priced(self, request: OrderRequest) -> Order:
        quantities = summed(request.lines or self._selected(request.user_id))
        priced = price(quantities, self._goods.find(quantities), request.expected_total_cents)
        now = self.clock.now()
        return Order(
            order_sn=new_order_sn(now),
            user_id=request.user_id,
            state=State.CREATING,
            lines=priced.lines,
            total_cents=priced.total_cents,
            currency=priced.currency,
            recipient=request.recipient,
            note=request.note,
            create_time=now,
            expire_time=now + self._pay_within,
        )

    def _selected(self, user_id: int) -> Sequence[tuple[str, int]]:
        items = self._carts.selected(user_id, limit=MAX_LINES + 1)
        if not items:
            raise NothingSelected("no lines were given and nothing in the cart is selected")
        if len(items) > MAX_LINES:
            raise TooManyLines(f"more than {MAX_LINES} items of the cart are selected")
        return [(item.sku, item.quantity) for item in items]


class _CreateTransaction:
    """The local transaction of one create, between the half message and its answer."""

    def __init__(self, create: CreateOrder, order: Order, deadline: Deadline, *, from_cart: bool) -> None:
        self._create = create
        self._order = order
        self._deadline = deadline
        self._from_cart = from_cart
        self._state: State | None = None
        self._steps: list[Event] = []
        self._failure_reason = ""
        self._refusal: DomainError | None = None

    def sell_and_open(self) -> Resolution:
        """Sell and set the timeout, move to UNPAID; the answer is what the row says."""
        self._create.crash_hook(CrashPoint.CREATE_HALF_SENT)
        try:
            self._state = self._sold_and_opened()
        except Refused as refused:
            self._create.crash_hook(CrashPoint.CREATE_REFUSED)
            return self._refused(refused.error)
        except StockUnclear:
            self._create.crash_hook(CrashPoint.CREATE_UNCLEAR)
            self._state = self._failed("STOCK_UNCLEAR")
        except BrokerUnavailable:
            self._create.crash_hook(CrashPoint.CREATE_TIMEOUT_NOT_SENT)
            self._state = self._failed("TIMEOUT_NOT_SET")
        self._create.crash_hook(CrashPoint.CREATE_MOVED)
        return resolution(self._state, Cause.CREATE)

    def outcome(self) -> Order:
        """The order for the caller, or the error."""
        order_sn = self._order.order_sn
        match self._state:
            case State.UNPAID:
                return replace(self._order, state=State.UNPAID)
            case State.FAILED if self._refusal is not None and refusal_codec.is_business(self._refusal):
                raise self._refusal
            case State.FAILED:
                raise OrderFailed(order_sn, self._failure_reason or "OVERTAKEN")
            case None | State.CREATING:
                raise outcome_unknown(order_sn)
            case State.PAID | State.FINISHED | State.CLOSED:  # someone else was quick
                order = self._create.orders.get(order_sn)
                assert order is not None, "orders are never deleted"
                return order

    def _sold_and_opened(self) -> State | None:
        order, create = self._order, self._create
        # The timeout travels while inventory sells: should the order fail, it comes to an order that is over.
        timeout = Timeout(order.order_sn, order.expire_time).to_message()
        left = max(order.expire_time - create.clock.now(), timedelta())
        timeout_is_set = create.broker.begin_publish_later(timeout, left)
        create.crash_hook(CrashPoint.CREATE_TIMEOUT_BEGUN)
        kept_back = min(_AFTER_SELL_S, self._deadline.remaining() / 2)
        create.stock.sell(order.order_sn, order.lines, self._deadline.earlier_by(kept_back))
        self._steps.append(Event(EventKind.SOLD, create.clock.now()))
        create.crash_hook(CrashPoint.CREATE_SOLD)
        timeout_is_set()
        create.crash_hook(CrashPoint.CREATE_TIMEOUT_SENT)
        now = create.clock.now()
        self._steps.append(Event(EventKind.TIMEOUT_SET, now, order.expire_time.isoformat()))
        return create.orders.open(order, self._steps, now, from_cart=self._from_cart)

    def _refused(self, refusal: DomainError) -> Resolution:
        """Inventory took nothing, so nothing is owed, unless someone else had already failed the order."""
        create = self._create
        self._refusal, self._failure_reason = refusal, refusal.reason
        self._state, by_this = create.orders.refuse(self._order.order_sn, refusal, create.clock.now())
        create.crash_hook(CrashPoint.CREATE_MOVED)
        if self._state is State.FAILED and by_this:
            return Resolution.ROLLBACK
        return resolution(self._state, Cause.CREATE)

    def _failed(self, reason: str) -> State | None:
        self._failure_reason = reason
        return self._create.orders.fail(self._order.order_sn, reason, self._create.clock.now(), self._steps)
