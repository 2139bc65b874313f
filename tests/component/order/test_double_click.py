"""The same CreateOrder more than once at a time: one order, whoever comes first."""

from concurrent.futures import Future, ThreadPoolExecutor
from operator import attrgetter
from threading import Event
from typing import Any

import grpc
import pytest

from order_srv.crash_points import CrashPoint
from reback.order.v1 import order_pb2 as pb
from tests.component.order.carts import cart, put
from tests.component.order.conftest import Open
from tests.support.holds import Holds
from tests.support.rpc_errors import read, rpc_error
from tests.support.services import Services, create_request
from tests.support.waiting import TIMEOUT_S, wait_until

THREADS = 8
WAITERS = THREADS // 4


def until_not_creating(services: Services, request: pb.CreateOrderRequest) -> pb.Order:
    """Call as a good client does: again while the order is being created."""
    while True:
        try:
            return services.order.CreateOrder(request)
        except grpc.RpcError as error:
            if read(error).reason != "ORDER_CREATING":
                raise


def pause_after(services: Services, monkeypatch: pytest.MonkeyPatch, part: str, method: str) -> tuple[Event, Event]:
    """Stop the next group of creates just before a part of it; returns (it is there, let it go on)."""
    target = attrgetter(part)(services.order_service.use_cases.create_order.group)
    here, go_on = Event(), Event()
    as_it_is = getattr(target, method)

    def paused(*arguments: Any, **named: Any) -> Any:
        if not here.is_set():
            here.set()
            assert go_on.wait(TIMEOUT_S)
        return as_it_is(*arguments, **named)

    monkeypatch.setattr(target, method, paused)
    return here, go_on


def test_many_callers_with_one_request_make_one_order(open_services: Open, callers: ThreadPoolExecutor) -> None:
    services = open_services()
    user, sku = services.new_user(), services.new_sku(100)
    request = create_request(user, {sku: 1})

    orders = list(callers.map(lambda _: until_not_creating(services, request), range(48)))

    assert orders == [orders[0]] * 48
    assert services.orders_of(user) == [orders[0]]
    assert services.available(sku) == 99
    services.assert_books_balance()


def test_a_quarter_of_the_threads_wait_for_the_order_and_the_rest_is_told_at_once(
    open_services: Open, holds: Holds, callers: ThreadPoolExecutor
) -> None:
    services = open_services({"threads": THREADS})
    user, sku = services.new_user(), services.new_sku(100)
    request = create_request(user, {sku: 1})
    hold = holds.at(CrashPoint.CREATE_HALF_SENT)
    first = callers.submit(services.order.CreateOrder, request)
    hold.wait()

    again = [callers.submit(services.order.CreateOrder, request) for _ in range(THREADS)]
    wait_until(lambda: sum(each.done() for each in again) == THREADS - WAITERS, "all but the waiters are answered")

    creating = services.orders_of(user)[0].order_sn
    for refused in (each for each in again if each.done()):
        error = rpc_error(refused.result)
        assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "ORDER_CREATING")
        assert error.metadata == {"order_sn": creating}
    hold.release()
    waited = [each.result() for each in again if each.exception() is None]
    assert waited == [first.result()] * WAITERS
    assert first.result().order_sn == creating


def test_who_waits_is_told_before_the_deadline_that_the_order_is_still_being_created(
    open_services: Open, holds: Holds, callers: ThreadPoolExecutor
) -> None:
    # The server's own limit ends the waiting, so that the caller is still there to hear of it.
    services = open_services({"creating_grace": 4})
    user, sku = services.new_user(), services.new_sku(100)
    request = create_request(user, {sku: 1})
    hold = holds.at(CrashPoint.CREATE_INSERTED)
    first = callers.submit(services.order.CreateOrder, request)
    hold.wait()

    error = rpc_error(lambda: services.order.CreateOrder(request))

    assert (error.code, error.reason) == (grpc.StatusCode.UNAVAILABLE, "ORDER_CREATING")
    hold.release()
    first.exception()


def test_other_content_is_refused_while_the_order_is_being_created_too(
    open_services: Open, holds: Holds, callers: ThreadPoolExecutor
) -> None:
    services = open_services()
    user, sku = services.new_user(), services.new_sku(100)
    hold = holds.at(CrashPoint.CREATE_HALF_SENT)
    first = callers.submit(services.create, user, {sku: 1}, request_id="mine")
    hold.wait()
    other = callers.submit(services.create, user, {sku: 2}, request_id="mine")
    hold.release()
    assert rpc_error(other.result).reason == "DIFFERENT_CONTENT"
    assert first.result().state == pb.ORDER_STATE_UNPAID


def test_who_waits_for_an_order_that_is_refused_tries_again(
    open_services: Open, holds: Holds, callers: ThreadPoolExecutor
) -> None:
    services = open_services()
    user, sku = services.new_user(), services.new_sku(1)
    request = create_request(user, {sku: 2})
    hold = holds.at(CrashPoint.CREATE_REFUSED)
    calls = [callers.submit(services.order.CreateOrder, request)]
    hold.wait()
    calls.append(callers.submit(services.order.CreateOrder, request))
    hold.release()

    first, second = (rpc_error(call.result) for call in calls)

    assert first.conditions == second.conditions == [("NO_STOCK", sku, "asked 2, available 1")]
    assert {order.failure_reason for order in services.orders_of(user)} == {"NO_STOCK"}


def second_click(
    services: Services, callers: ThreadPoolExecutor, request: pb.CreateOrderRequest, paused: tuple[Event, Event]
) -> tuple[pb.Order, "Future[pb.Order]"]:
    """Two clicks: the slow one looks the request up before the fast one writes its order, and goes on after that."""
    here, go_on = paused
    slow = callers.submit(services.order.CreateOrder, request)
    assert here.wait(TIMEOUT_S)
    fast = services.order.CreateOrder(request)
    go_on.set()
    return fast, slow


def test_the_second_click_finds_its_order_though_the_cart_is_empty_by_then(
    open_services: Open, callers: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = open_services()
    user, sku = services.new_user(), services.new_sku(100)
    put(services, user, sku, 2)
    paused = pause_after(services, monkeypatch, "_pricing._carts", "selected")

    fast, slow = second_click(services, callers, create_request(user, {}), paused)

    assert slow.result() == fast
    assert cart(services, user) == []
    assert services.available(sku) == 98


def test_the_second_click_finds_its_order_though_it_took_the_last_units(
    open_services: Open, callers: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = open_services()
    user, sku = services.new_user(), services.new_sku(2)
    rpc_error(lambda: services.create(user, {sku: 3}))  # from now on the sku is looked at before it is sold
    paused = pause_after(services, monkeypatch, "_pricing._goods", "find")

    fast, slow = second_click(services, callers, create_request(user, {sku: 2}), paused)

    assert slow.result() == fast
    assert services.available(sku) == 0


def test_the_second_click_finds_its_order_though_the_price_has_changed_by_then(
    open_services: Open, callers: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = open_services()
    user, sku = services.new_user(), services.new_sku(100, 100)
    request = create_request(user, {sku: 2}, expected_total_cents=200)
    here, go_on = pause_after(services, monkeypatch, "_pricing._goods", "find")
    slow = callers.submit(services.order.CreateOrder, request)
    assert here.wait(TIMEOUT_S)
    fast = services.order.CreateOrder(request)
    services.put_goods(sku, 101)
    go_on.set()

    assert slow.result() == fast


def test_the_second_click_is_written_by_nobody_twice(
    open_services: Open, callers: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = open_services()
    user, sku = services.new_user(), services.new_sku(100)
    paused = pause_after(services, monkeypatch, "_orders", "add_all")

    fast, slow = second_click(services, callers, create_request(user, {sku: 2}), paused)

    assert slow.result() == fast
    assert services.orders_of(user) == [fast]
    assert services.available(sku) == 98
