"""Orders that are created or closed in one group, each member with a user and a sku of its own."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Final

import grpc

from common.messaging.port import Message
from common.rpc.errors import to_domain_error
from order_srv.domain.order_state import Cause
from reback.inventory.v1 import inventory_pb2 as stock_pb
from reback.order.v1 import order_pb2 as pb
from tests.faults.stage import A_MOMENT, CREATING_GRACE, Stage
from tests.support.gathering import closing_groups, gather
from tests.support.order_messages import reback_message
from tests.support.services import create_request
from tests.support.waiting import TIMEOUT_S, wait_until

ALL: Final = 10
WANTED: Final = 3


@dataclass(frozen=True)
class Member:
    """A caller, and what there is of its order.

    Attributes:
        request: What it calls CreateOrder with.
    """

    at: Stage
    user: int
    sku: str
    request: pb.CreateOrderRequest

    def create(self) -> pb.Order:
        return self.at.shop.order.CreateOrder(self.request)

    @property
    def order(self) -> pb.Order:
        """The newest."""
        return self.at.shop.orders_of(self.user)[0]

    @property
    def order_sn(self) -> str:
        return str(self.order.order_sn)

    @property
    def state(self) -> str:
        return name_of(self.order)

    @property
    def available(self) -> int:
        return self.at.shop.available(self.sku)

    @property
    def cart(self) -> dict[str, int]:
        items = self.at.shop.order.ListCartItems(pb.ListCartItemsRequest(user_id=self.user)).items
        return {item.sku: item.quantity for item in items}

    def put_into_cart(self, quantity: int) -> None:
        item = pb.PutCartItemRequest(user_id=self.user, sku=self.sku, quantity=quantity, selected=True)
        self.at.shop.order.PutCartItem(item)

    def pay(self) -> None:
        self.at.shop.pay(self.order)

    def cancel(self, reason: str = "", timeout: float | None = None) -> pb.Order:
        request = pb.CancelOrderRequest(user_id=self.user, order_sn=self.order_sn, reason=reason)
        return self.at.shop.order.CancelOrder(request, timeout=timeout)

    def refund(self, timeout: float | None = None) -> pb.Order:
        return self.at.shop.order.RefundOrder(pb.RefundOrderRequest(order_sn=self.order_sn), timeout=timeout)

    def finish(self) -> pb.Order:
        return self.at.shop.order.FinishOrder(pb.FinishOrderRequest(order_sn=self.order_sn))


def member(at: Stage, quantity: int = WANTED) -> Member:
    """One who wants some of 10 units."""
    user, sku = at.shop.new_user(), at.shop.new_sku(ALL)
    return Member(at, user, sku, create_request(user, {sku: quantity}))


def member_with_cart(at: Stage, quantity: int = WANTED) -> Member:
    """One who wants what is in the cart."""
    user, sku = at.shop.new_user(), at.shop.new_sku(ALL)
    made = Member(at, user, sku, create_request(user, {}))
    made.put_into_cart(quantity)
    return made


def members(at: Stage, count: int = 3) -> list[Member]:
    return [member(at) for _ in range(count)]


def with_orders(at: Stage, count: int = 3) -> list[Member]:
    """Members whose orders are UNPAID, made in one group."""
    made = members(at, count)
    assert told(creating(made)) == ["UNPAID"] * count
    return made


def creating(wanted: list[Member], *, besides: int = 0) -> list[Future[pb.Order]]:
    """Create their orders in one group, with so many calls `besides` that the test makes itself."""
    at = wanted[0].at
    gather(at.shop.order_service.use_cases.create_order.waiting, len(wanted) + besides)
    return [at.calling(each.create) for each in wanted]


def closing(at: Stage, cause: Cause, calls: list[Callable[[], pb.Order]]) -> list[Future[pb.Order]]:
    """Close orders in one group."""
    gather(closing_groups(at.shop.order_service, cause), len(calls))
    return [at.calling(call) for call in calls]


def fail_alone(each: Member) -> None:
    """Have another replica fail one order, past its grace."""
    each.at.pass_time(CREATING_GRACE + A_MOMENT)
    message = reback_message(Cause.CREATE, each.at.clock.now(), each.order_sn)
    each.at.shop.order_service.check_back.answer(message)
    assert each.state == "FAILED"


def told(calls: list[Future[Any]]) -> list[str]:
    """What each caller was told: the state of its order, or the reason of its error."""
    return [_told(call) for call in calls]


def _told(call: Future[Any]) -> str:
    try:
        return name_of(call.result(TIMEOUT_S))
    except grpc.RpcError as error:
        return to_domain_error(error).reason


def name_of(order: pb.Order) -> str:
    return pb.OrderState.Name(order.state).removeprefix("ORDER_STATE_")


def states_of(some: list[Member]) -> list[str]:
    return [each.state for each in some]


def stock_of(some: list[Member]) -> list[int]:
    return [each.available for each in some]


def half_of(at: Stage, cause: Cause, some: list[Member]) -> Message:
    """The one half message of a cause that names all of these orders, and no other."""
    (half,) = [each for each in at.broker.sent if each.cause is cause]
    assert {each.order_sn for each in half.orders} == {each.order_sn for each in some}
    return half.to_message()


def sale_of(each: Member) -> str:
    """The state of an order's sale; empty: inventory knows none."""
    request = stock_pb.BatchGetSalesRequest(order_sns=[each.order_sn])
    sales = each.at.shop.inventory.BatchGetSales(request).sales
    return stock_pb.SaleState.Name(sales[0].state).removeprefix("SALE_STATE_") if sales else ""


def wait_for_stock(some: list[Member], expected: list[int]) -> None:
    wait_until(lambda: stock_of(some) == expected, f"{expected} available")
