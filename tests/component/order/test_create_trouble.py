"""CreateOrder when an engine is down, slow or silent, and when its caller leaves: nothing is lost or stays sold."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from queue import Queue
from typing import Any

import grpc
import pytest

from common.rpc.interceptor import current_deadline
from inventory_srv.crash_points import CrashPoint as InventoryPoint
from order_srv.crash_points import CrashPoint
from reback.inventory.v1 import inventory_pb2 as stock_pb
from reback.order.v1 import order_pb2 as pb
from tests.component.order.answering import services_answering
from tests.component.order.carts import cart, put
from tests.component.order.conftest import Open
from tests.support.broker_file import BrokerLock
from tests.support.holds import Holds
from tests.support.rpc_errors import RpcFailure, rpc_error
from tests.support.services import Services, create_request, running_inventory, running_order
from tests.support.waiting import TIMEOUT_S, wait_until
from tests.support.worlds import SHORT_BROKER

GRACE = 4
"""Seconds of creating grace: CreateOrder then has at most half of them, whatever its caller allows."""


def short_timeout_broker(folder: Path) -> dict[str, str]:
    """A setting that gives a locked broker up soon."""
    return {"broker_url": f"embedded:///{folder}/broker.db?{SHORT_BROKER}&busy_timeout=0.2"}


def only_order_of(services: Services, user: int) -> pb.Order:
    (order,) = services.orders_of(user)
    return order


def assert_failed(services: Services, user: int, reason: str) -> pb.Order:
    """The user's only order has failed for this reason and its stock is back."""
    order = only_order_of(services, user)
    assert (order.state, order.failure_reason) == (pb.ORDER_STATE_FAILED, reason)
    services.wait_for_step(order.order_sn, "STOCK_RETURNED")
    sale = services.inventory.GetSale(stock_pb.GetSaleRequest(order_sn=order.order_sn))
    assert sale.state == stock_pb.SALE_STATE_RETURNED
    assert [services.stock(line.sku).sold for line in order.lines] == [0] * len(order.lines)
    return order


def assert_order_failed(error: RpcFailure, order: pb.Order, reason: str) -> None:
    assert (error.code, error.reason, error.domain) == (grpc.StatusCode.ABORTED, "ORDER_FAILED", "order")
    assert error.metadata == {"order_sn": order.order_sn, "failure_reason": reason}


# Inventory


def test_without_inventory_an_order_fails_and_owes_its_stock_until_inventory_is_back(tmp_path: Path) -> None:
    with ExitStack() as stack:
        with running_inventory(tmp_path) as gone:
            services = Services(tmp_path, gone, stack.enter_context(running_order(tmp_path, gone.address)))
            stack.callback(services.close)
            user, sku = services.new_user(), services.new_sku(10)
            put(services, user, sku, 2)
        error = rpc_error(lambda: services.create(user, {}, request_id="mine"))
        order = only_order_of(services, user)
        assert_order_failed(error, order, "STOCK_UNCLEAR")
        assert services.own_steps(order.order_sn)[:2] == ["CREATED", "FAILED"]
        assert cart(services, user) == [(sku, 2, True)]

        back = stack.enter_context(running_inventory(tmp_path, {"listen": gone.address}))

        whole = Services(tmp_path, back, services.order_service)
        stack.callback(whole.close)
        whole.users.add(user)
        # Its address was refused a moment ago, and gRPC pauses before it tries an address again.
        whole.inventory.GetStock(stock_pb.GetStockRequest(sku=sku), wait_for_ready=True)
        assert_failed(whole, user, "STOCK_UNCLEAR")
        again = whole.create(user, {}, request_id="mine")
        assert (again.state, again.order_sn != order.order_sn) == (pb.ORDER_STATE_UNPAID, True)
        whole.assert_books_balance()


@pytest.mark.parametrize("point", [InventoryPoint.BATCH_TAKEN, InventoryPoint.ROWS_HELD])
def test_an_inventory_that_does_not_answer_in_time_is_unclear_and_its_stock_comes_back(
    open_services: Open, point: str
) -> None:
    inventory_holds = Holds()
    services = open_services({"creating_grace": GRACE}, inventory_parts={"crash_hook": inventory_holds})
    user, sku = services.new_user(), services.new_sku(10)
    hold = inventory_holds.at(point)

    error = rpc_error(lambda: services.create(user, {sku: 4}))

    hold.wait()
    hold.release()
    order = assert_failed(services, user, "STOCK_UNCLEAR")
    assert_order_failed(error, order, "STOCK_UNCLEAR")
    assert services.own_steps(order.order_sn) == ["CREATED", "FAILED", "STOCK_RETURNED"]
    assert services.available(sku) == 10
    services.assert_books_balance()


def test_a_sell_that_was_committed_and_not_answered_in_time_is_found_and_makes_an_order(open_services: Open) -> None:
    inventory_holds = Holds()
    services = open_services({"creating_grace": GRACE}, inventory_parts={"crash_hook": inventory_holds})
    user, sku = services.new_user(), services.new_sku(10)
    hold = inventory_holds.at(InventoryPoint.BATCH_COMMITTED)

    order = services.create(user, {sku: 4})

    hold.release()
    assert order.state == pb.ORDER_STATE_UNPAID
    services.wait_for_available(sku, 6)
    services.assert_books_balance()


def test_no_create_takes_longer_than_half_the_creating_grace_whatever_its_caller_allows(tmp_path: Path) -> None:
    with services_answering(tmp_path, {"creating_grace": 5}) as (services, answering):
        user, sku = services.new_user(), services.new_sku(10)
        for caller_allows in (1000, 1.6):
            request = create_request(user, {sku: 1})
            services.order.CreateOrder(request, timeout=caller_allows)

        longest, shortest = answering.seconds_left
        assert 0.9 < longest < 2.5 - 0.9, "half the grace, less what is kept back for what comes after the sell"
        assert 0 < shortest < 0.9


# The broker


def test_without_a_broker_no_order_is_made_and_a_repeat_makes_it_later(open_services: Open, tmp_path: Path) -> None:
    services = open_services(short_timeout_broker(tmp_path))
    user, sku = services.new_user(), services.new_sku(10)
    request = create_request(user, {sku: 4})
    broker = BrokerLock(tmp_path)
    broker.lock()

    error = rpc_error(lambda: services.order.CreateOrder(request))

    broker.release()
    assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "BROKER_UNAVAILABLE")
    first = assert_failed(services, user, "BROKER_UNAVAILABLE")
    assert services.available(sku) == 10
    order = services.order.CreateOrder(request)
    assert order.order_sn != first.order_sn
    assert services.order.CreateOrder(request) == order
    services.assert_books_balance()


def test_an_order_whose_timeout_can_not_be_set_fails_and_its_stock_comes_back(
    open_services: Open, tmp_path: Path, holds: Holds
) -> None:
    services = open_services(short_timeout_broker(tmp_path))
    user, sku = services.new_user(), services.new_sku(10)
    put(services, user, sku, 4)
    broker = BrokerLock(tmp_path)
    holds.do_at(CrashPoint.CREATE_HALF_SENT, broker.lock)  # inventory sells while the timeout is kept from the broker

    error = rpc_error(lambda: services.create(user, {}))

    broker.release()
    order = assert_failed(services, user, "TIMEOUT_NOT_SET")
    assert_order_failed(error, order, "TIMEOUT_NOT_SET")
    events = services.order.GetOrderTimeline(pb.GetOrderTimelineRequest(order_sn=order.order_sn)).events
    assert [event.kind for event in events][:3] == [
        pb.ORDER_EVENT_KIND_CREATED,
        pb.ORDER_EVENT_KIND_SOLD,  # a step that it took, though it failed after it
        pb.ORDER_EVENT_KIND_FAILED,
    ]
    assert services.available(sku) == 10
    assert cart(services, user) == [(sku, 4, True)]
    services.assert_books_balance()


# The caller


def leave_at(point: CrashPoint, services: Services, holds: Holds, request: pb.CreateOrderRequest) -> None:
    """Call, and hang up when the service has come to this point; it goes on once it knows."""
    calls: Queue[grpc.Future[pb.Order]] = Queue()

    def hang_up() -> None:
        deadline = current_deadline()
        calls.get(timeout=TIMEOUT_S).cancel()
        wait_until(lambda: deadline.cancelled, "the service hears of it")

    holds.do_at(point, hang_up)
    call: Any = services.order.CreateOrder.future(request)
    calls.put(call)
    assert call.code() is grpc.StatusCode.CANCELLED


def test_a_create_whose_deadline_passed_before_its_turn_leaves_nothing_behind(
    open_services: Open, holds: Holds, callers: ThreadPoolExecutor
) -> None:
    services = open_services({"threads": 1})
    user, sku, other_sku = services.new_user(), services.new_sku(10), services.new_sku(10)
    hold = holds.at(CrashPoint.CREATE_INSERTED)
    other = callers.submit(services.create, services.new_user(), {other_sku: 1})
    hold.wait()

    late: Any = services.order.CreateOrder.future(create_request(user, {sku: 1}), timeout=0.3)
    assert late.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    hold.release()

    assert other.result().state == pb.ORDER_STATE_UNPAID
    assert services.orders_of(user) == []
    assert services.available(sku) == 10


@pytest.mark.parametrize("point", [CrashPoint.CREATE_INSERTED, CrashPoint.CREATE_HALF_SENT])
def test_a_create_whose_caller_leaves_before_it_sells_fails_and_sells_nothing(
    open_services: Open, holds: Holds, point: CrashPoint
) -> None:
    services = open_services()
    user, sku = services.new_user(), services.new_sku(10)

    leave_at(point, services, holds, create_request(user, {sku: 4}))

    wait_until(lambda: only_order_of(services, user).state != pb.ORDER_STATE_CREATING, "the order is at rest")
    order = only_order_of(services, user)
    assert (order.state, order.failure_reason) == (pb.ORDER_STATE_FAILED, "CALLER_GONE")
    assert services.own_steps(order.order_sn) == ["CREATED", "FAILED"], "inventory was not asked, and nothing is owed"
    assert services.available(sku) == 10
    services.assert_books_balance()


@pytest.mark.parametrize("point", [CrashPoint.CREATE_SOLD, CrashPoint.CREATE_TIMEOUT_SENT, CrashPoint.CREATE_MOVED])
def test_a_create_whose_caller_leaves_after_it_sold_is_finished(
    open_services: Open, holds: Holds, point: CrashPoint
) -> None:
    services = open_services()
    user, sku = services.new_user(), services.new_sku(10)
    request = create_request(user, {sku: 4})

    leave_at(point, services, holds, request)

    order = services.order.CreateOrder(request)
    assert order.state == pb.ORDER_STATE_UNPAID
    assert services.orders_of(user) == [order]
    assert services.available(sku) == 6
    services.assert_books_balance()
