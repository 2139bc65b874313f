"""What is UNAVAILABLE is safe to repeat: an order that is being created, a database that is gone or lost its COMMIT."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import current_thread
from typing import Any

import grpc
import pytest

from order_srv.crash_points import CrashPoint
from reback.inventory.v1 import inventory_pb2 as stock_pb
from reback.order.v1 import order_pb2 as pb
from tests.component.order import resting_orders
from tests.component.order.conftest import Open
from tests.support.databases import url_of
from tests.support.holds import Holds
from tests.support.lossy_database import LossyDatabase
from tests.support.manual_clock import ManualClock
from tests.support.rpc_errors import rpc_error
from tests.support.services import RECIPIENT, Services, create_request, pay_request
from tests.support.waiting import wait_until


@pytest.fixture
def database(engine: str, tmp_path: Path) -> LossyDatabase:
    return LossyDatabase(url_of(tmp_path, "order"))


MOVES: dict[str, Callable[[Services, pb.Order], Any]] = {
    "pay": lambda services, order: services.pay(order),
    "cancel": resting_orders.cancel,
    "refund": resting_orders.refund,
    "finish": resting_orders.finish,
}


def test_an_order_that_is_being_created_is_neither_paid_nor_moved_by_anybody_else(
    open_services: Open, holds: Holds, callers: ThreadPoolExecutor
) -> None:
    services = open_services()
    user, sku = services.new_user(), services.new_sku()
    hold = holds.at(CrashPoint.CREATE_SOLD)
    creating = callers.submit(services.create, user, {sku: 2})
    hold.wait()
    (order,) = services.orders_of(user)

    for name, move in MOVES.items():
        error = rpc_error(lambda move=move: move(services, order))  # type: ignore[misc]
        assert (error.code, error.reason, error.domain) == (grpc.StatusCode.UNAVAILABLE, "ORDER_CREATING", "order"), (
            name
        )
        assert error.metadata == {"order_sn": order.order_sn}

    assert services.get(order) == order
    hold.release()
    made = creating.result()
    assert made.state == pb.ORDER_STATE_UNPAID
    assert list(made.payments) == []
    assert services.pay(made).payment.outcome == pb.PAYMENT_OUTCOME_APPLIED


def requests(order: pb.Order) -> dict[str, Any]:
    """A good request of every method."""
    user, sku, order_sn = order.user_id, order.lines[0].sku, order.order_sn
    return {
        "PutGoods": pb.PutGoodsRequest(goods=pb.Goods(sku=sku, name="x", currency="EUR", price_cents=1, on_sale=True)),
        "BatchGetGoods": pb.BatchGetGoodsRequest(skus=[sku]),
        "ListGoods": pb.ListGoodsRequest(),
        "DeleteGoods": pb.DeleteGoodsRequest(sku="none"),
        "PutCartItem": pb.PutCartItemRequest(user_id=user, sku=sku, quantity=1),
        "ListCartItems": pb.ListCartItemsRequest(user_id=user),
        "DeleteCartItems": pb.DeleteCartItemsRequest(user_id=user, skus=[sku]),
        "CreateOrder": create_request(user, {sku: 1}, recipient=RECIPIENT),
        "GetOrder": pb.GetOrderRequest(user_id=user, order_sn=order_sn),
        "ListOrders": pb.ListOrdersRequest(user_id=user),
        "PayOrder": pay_request(order, payment_id="p1"),
        "CancelOrder": pb.CancelOrderRequest(user_id=user, order_sn=order_sn),
        "RefundOrder": pb.RefundOrderRequest(order_sn=order_sn),
        "FinishOrder": pb.FinishOrderRequest(order_sn=order_sn),
        "ListPayments": pb.ListPaymentsRequest(),
        "MarkRefunded": pb.MarkRefundedRequest(payment_id="p1", refund_id="r"),
        "GetOrderTimeline": pb.GetOrderTimelineRequest(order_sn=order_sn),
    }


def test_without_its_database_every_call_is_unavailable_and_changes_nothing(
    open_services: Open, database: LossyDatabase
) -> None:
    services = open_services(database=database)
    order = resting_orders.unpaid(services)
    all_of_them = requests(order)
    assert set(all_of_them) == {each.name for each in pb.DESCRIPTOR.services_by_name["OrderService"].methods}
    database.down = True

    for method, request in all_of_them.items():
        error = rpc_error(lambda method=method, request=request: getattr(services.order, method)(request))  # type: ignore[misc]
        assert (error.code, error.reason, error.domain) == (
            grpc.StatusCode.UNAVAILABLE,
            "DATABASE_UNAVAILABLE",
            "order",
        ), method

    database.down = False
    assert services.orders_of(order.user_id) == [order]
    assert services.order.PayOrder(all_of_them["PayOrder"]).payment.outcome == pb.PAYMENT_OUTCOME_APPLIED
    assert services.order.CreateOrder(all_of_them["CreateOrder"]).state == pb.ORDER_STATE_UNPAID
    services.assert_books_balance()


@pytest.mark.parametrize("happens", [True, False])
def test_a_create_goes_no_further_when_it_is_not_known_whether_it_was_written_down(
    open_services: Open, database: LossyDatabase, happens: bool
) -> None:
    clock = ManualClock()
    services = open_services(database=database, clock=clock, inventory_parts={"clock": clock})
    user, sku = services.new_user(), services.new_sku(5)
    request = create_request(user, {sku: 2})
    database.lose_commit(lambda: True, happens=happens)

    error = rpc_error(lambda: services.order.CreateOrder(request))

    assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "COMMIT_UNKNOWN")
    written = services.orders_of(user)
    assert len(written) == happens
    for order in written:
        assert rpc_error(lambda order=order: sale_of(services, order)).reason == "SALE_NOT_FOUND"  # type: ignore[misc]
        clock.advance(timedelta(minutes=1))
        services.wait_for_state(order, pb.ORDER_STATE_FAILED)
        services.wait_for_step(order.order_sn, "STOCK_RETURNED")
    order = services.order.CreateOrder(request)
    assert order.state == pb.ORDER_STATE_UNPAID
    assert order.order_sn not in {each.order_sn for each in written}
    services.assert_books_balance()


def sale_of(services: Services, order: pb.Order) -> stock_pb.Sale:
    return services.inventory.GetSale(stock_pb.GetSaleRequest(order_sn=order.order_sn))


def test_a_create_that_can_not_read_its_order_after_the_sell_says_that_it_does_not_know(
    open_services: Open, database: LossyDatabase, holds: Holds
) -> None:
    services = open_services(database=database)
    user, sku = services.new_user(), services.new_sku(5)
    request = create_request(user, {sku: 2})

    def by_the_call() -> bool:  # not a commit of the sweeper's, which comes in between
        return current_thread().name.startswith("rpc")

    def lose_the_database() -> None:
        database.lose_commit(by_the_call, happens=True, then_down=True)

    holds.do_at(CrashPoint.CREATE_TIMEOUT_SENT, lose_the_database)
    error = rpc_error(lambda: services.order.CreateOrder(request))
    database.down = False

    (order,) = services.orders_of(user)
    assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "OUTCOME_UNKNOWN")
    assert error.metadata == {"order_sn": order.order_sn}
    assert services.order.CreateOrder(request) == order
    assert order.state == pb.ORDER_STATE_UNPAID
    wait_until(lambda: "ASKED_BY_BROKER" in services.steps(order.order_sn), "the broker asks")
    assert services.available(sku) == 3
    services.assert_books_balance()
