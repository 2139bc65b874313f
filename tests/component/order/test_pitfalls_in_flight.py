"""What systems of this kind got wrong while orders were being made; the numbers are the list's own."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from common.messaging.embedded.broker import EmbeddedBroker
from order_srv.crash_points import CrashPoint
from reback.inventory.v1 import inventory_pb2 as stock_pb
from reback.order.v1 import order_pb2 as pb
from tests.component.order.answering import services_answering
from tests.component.order.carts import cart, put
from tests.component.order.conftest import Open
from tests.support.holds import Holds
from tests.support.manual_clock import ManualClock
from tests.support.rpc_errors import rpc_error
from tests.support.services import Services, create_request, running_inventory, running_order
from tests.support.waiting import wait_until


class Crash(Exception):
    """The end of a process, as far as its callers and the broker can tell."""


def asking_soon(folder: Path) -> dict[str, str]:
    """A setting by which the broker asks after a moment."""
    return {"broker_url": f"embedded:///{folder}/broker.db?check_after=0.2&check_every=0.1&lease=3&retry_after=0.1"}


# 5


def test_pitfall_05_the_purchase_of_the_last_unit_gives_the_first_order_when_it_is_repeated(
    open_services: Open, callers: ThreadPoolExecutor
) -> None:
    services = open_services()
    user, sku = services.new_user(), services.new_sku(1)
    request = create_request(user, {sku: 1})
    first = services.order.CreateOrder(request)
    rpc_error(lambda: services.create(user, {sku: 1}))  # from now on the sku is looked at before it is sold

    assert list(callers.map(services.order.CreateOrder, [request] * 8)) == [first] * 8
    assert (services.stock(sku).available, services.stock(sku).sold) == (0, 1)
    services.assert_books_balance()


# 8


def test_pitfall_08_everything_may_be_as_long_as_the_contract_says(open_services: Open) -> None:
    services = open_services()
    skus = [f"{number:03}" + "😀" * 61 for number in range(100)]
    for sku in skus:
        services.put_goods(sku, 10**11, name="ﷺ" * 200, image_url="😀" * 2000)
        services.inventory.SetStock(stock_pb.SetStockRequest(sku=sku, quantity=900))
    request = pb.CreateOrderRequest(
        user_id=2**63 - 1,
        request_id="😀" * 64,
        lines=[pb.CreateOrderLine(sku=sku, quantity=900) for sku in skus],
        recipient=pb.Recipient(name="😀" * 200, mobile="ﷺ" * 32, address="😀" * 500),
        note="ﷺ" * 500,
    )
    services.users.add(request.user_id)

    order = services.order.CreateOrder(request)

    read = services.get(order)
    assert read == order
    assert [line.sku for line in read.lines] == skus
    assert {line.name for line in read.lines} == {"ﷺ" * 200}
    assert (read.recipient, read.note, read.user_id) == (request.recipient, request.note, 2**63 - 1)
    assert read.total_cents == 100 * 900 * 10**11
    paid = services.pay(order, payment_id="😀" * 64, pay_type="ﷺ" * 32)
    assert (paid.payment.payment_id, paid.payment.pay_type) == ("😀" * 64, "ﷺ" * 32)
    closed = services.order.RefundOrder(pb.RefundOrderRequest(order_sn=order.order_sn, reason="ﷺ" * 200))
    assert closed.close_reason == "ﷺ" * 200
    sent = services.order.MarkRefunded(pb.MarkRefundedRequest(payment_id="😀" * 64, refund_id="ﷺ" * 64))
    assert sent.refund_id == "ﷺ" * 64
    assert services.order.CreateOrder(request).payments[0] == sent
    services.assert_books_balance()


# 9


def test_pitfall_09_orders_that_overlap_share_one_broker_and_all_come_to_be(
    open_services: Open, callers: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    opened = EmbeddedBroker.__init__
    closed = EmbeddedBroker.close

    def noting_init(broker: EmbeddedBroker, *arguments: object, **named: object) -> None:
        made.append("opened")
        opened(broker, *arguments, **named)  # type: ignore[arg-type]

    def noting_close(broker: EmbeddedBroker) -> None:
        made.append("closed")
        closed(broker)

    monkeypatch.setattr(EmbeddedBroker, "__init__", noting_init)
    monkeypatch.setattr(EmbeddedBroker, "close", noting_close)
    services = open_services()
    users, sku = [services.new_user() for _ in range(60)], services.new_sku(60)

    orders = list(callers.map(lambda user: services.create(user, {sku: 1}), users))

    assert {order.state for order in orders} == {pb.ORDER_STATE_UNPAID}
    assert made == ["opened", "opened"], "one broker for each service"
    services.assert_books_balance()


@pytest.mark.parametrize("point", [CrashPoint.CREATE_HALF_SENT, CrashPoint.CREATE_SOLD, CrashPoint.CREATE_TIMEOUT_SENT])
def test_pitfall_09_another_process_answers_for_the_one_that_crashed(
    tmp_path: Path, holds: Holds, point: CrashPoint
) -> None:
    clock, never_sweeps = ManualClock(), {"sweep_every": 3600, **asking_soon(tmp_path)}

    def crash() -> None:
        raise Crash

    with running_inventory(tmp_path, clock=clock) as inventory:
        with running_order(tmp_path, inventory.address, never_sweeps, crash_hook=holds, clock=clock) as first:
            services = Services(tmp_path, inventory, first)
            user, sku = services.new_user(), services.new_sku(5)
            holds.do_at(point, crash)
            with pytest.raises(grpc.RpcError):
                services.create(user, {sku: 2})
            (order,) = services.orders_of(user)
            assert order.state == pb.ORDER_STATE_CREATING
            services.close()
        with running_order(tmp_path, inventory.address, never_sweeps, clock=clock) as second:
            again = Services(tmp_path, inventory, second)

            def failed_as_time_passes() -> bool:
                clock.advance(timedelta(seconds=1))
                return again.get(order).state == pb.ORDER_STATE_FAILED

            wait_until(failed_as_time_passes, "the broker asks, and the order fails")
            again.wait_for_available(sku, 5)
            assert again.get(order).failure_reason == "ABANDONED"
            assert "ASKED_BY_BROKER" in again.steps(order.order_sn)
            again.close()


# 10


def test_pitfall_10_a_check_back_during_a_slow_create_neither_fails_it_nor_returns_its_stock(
    open_services: Open, tmp_path: Path, holds: Holds, callers: ThreadPoolExecutor
) -> None:
    services = open_services(asking_soon(tmp_path))
    user, sku = services.new_user(), services.new_sku(5)
    hold = holds.at(CrashPoint.CREATE_SOLD)
    creating = callers.submit(services.create, user, {sku: 2})
    hold.wait()
    (order,) = services.orders_of(user)

    asked_twice = [holds.at(CrashPoint.CHECK_BACK_MOVED)]
    asked_twice[0].wait()
    asked_twice[0].release()
    asked_twice.append(holds.at(CrashPoint.CHECK_BACK_MOVED))
    asked_twice[1].wait()
    asked_twice[1].release()

    assert services.steps(order.order_sn).count("ASKED_BY_BROKER") == 1, "noted once an order and message"
    assert services.get(order).state == pb.ORDER_STATE_CREATING
    assert services.available(sku) == 3
    hold.release()
    assert creating.result().state == pb.ORDER_STATE_UNPAID
    assert services.available(sku) == 3
    services.assert_books_balance()


def test_pitfall_10_a_create_that_was_given_up_before_it_opened_never_opens(
    open_services: Open, tmp_path: Path, holds: Holds, callers: ThreadPoolExecutor
) -> None:
    clock = ManualClock()
    services = open_services(asking_soon(tmp_path), clock=clock, inventory_parts={"clock": clock})
    user, sku = services.new_user(), services.new_sku(5)
    hold = holds.at(CrashPoint.CREATE_TIMEOUT_SENT)
    creating = callers.submit(services.create, user, {sku: 2})
    hold.wait()
    (order,) = services.orders_of(user)

    clock.advance(timedelta(seconds=60))
    services.wait_for_state(order, pb.ORDER_STATE_FAILED)
    hold.release()

    error = rpc_error(creating.result)
    assert (error.code, error.reason) == (grpc.StatusCode.ABORTED, "ORDER_FAILED")
    clock.advance(timedelta(seconds=60))
    services.wait_for_available(sku, 5)
    assert services.get(order).state == pb.ORDER_STATE_FAILED


# 11


def test_pitfall_11_a_timeout_that_read_the_order_before_it_was_paid_leaves_it_paid(
    open_services: Open, holds: Holds
) -> None:
    clock = ManualClock()
    services = open_services({"sweep_every": 3600}, clock=clock, inventory_parts={"clock": clock})
    user, sku = services.new_user(), services.new_sku(5)
    order = services.create(user, {sku: 2})
    hold = holds.at(CrashPoint.CLOSE_HALF_SENT)
    clock.advance(timedelta(hours=1))
    hold.wait()
    timed_out = holds.at(CrashPoint.CLOSE_ANSWERED)

    paid_time = Timestamp(seconds=1_700_000_000)
    answer = services.pay(order, paid_time=paid_time)
    hold.release()

    timed_out.wait()
    timed_out.release()
    assert answer.payment.outcome == pb.PAYMENT_OUTCOME_APPLIED
    after = services.get(order)
    assert (after.state, after.pay_time) == (pb.ORDER_STATE_PAID, paid_time)
    assert list(after.payments) == [answer.payment]
    assert services.available(sku) == 3
    assert services.own_steps(order.order_sn) == ["CREATED", "SOLD", "TIMEOUT_SET", "PAID"]


# 12


DEFINITE = [
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.ALREADY_EXISTS,
]
UNCLEAR = [code for code in grpc.StatusCode if code not in {grpc.StatusCode.OK, *DEFINITE}]


def test_pitfall_12_whatever_a_sell_ends_with_its_stock_comes_back(tmp_path: Path) -> None:
    with services_answering(tmp_path) as (services, answering):
        answering.acts_first = True
        user, skus = services.new_user(), {code: services.new_sku(5) for code in UNCLEAR}
        answering.answers["BatchGetSales"] = grpc.StatusCode.UNAVAILABLE
        for code, sku in skus.items():
            answering.answers["Sell"] = code
            error = rpc_error(lambda sku=sku: services.create(user, {sku: 5}))  # type: ignore[misc]
            assert (error.code, error.reason) == (grpc.StatusCode.ABORTED, "ORDER_FAILED"), code

        del answering.answers["BatchGetSales"]
        for code, sku in skus.items():
            wait_until(lambda sku=sku: services.available(sku) == 5, f"the stock is back after {code}")  # type: ignore[misc]
        orders = services.assert_books_balance().orders
        assert {order.failure_reason for order in orders} == {"STOCK_UNCLEAR"}
        assert len(orders) == len(UNCLEAR)


def test_pitfall_12_a_sell_whose_answer_was_lost_is_asked_for_before_its_order_is_failed(tmp_path: Path) -> None:
    with services_answering(tmp_path) as (services, answering):
        answering.acts_first = True
        user, skus = services.new_user(), {code: services.new_sku(5) for code in UNCLEAR}
        for code, sku in skus.items():
            answering.answers["Sell"] = code
            assert services.create(user, {sku: 5}).state == pb.ORDER_STATE_UNPAID, code
        services.assert_books_balance()


def test_pitfall_12_a_definite_refusal_owes_nothing_and_is_told_no_stock_to_return(tmp_path: Path) -> None:
    with services_answering(tmp_path) as (services, answering):
        user, sku = services.new_user(), services.new_sku(5)
        for code in DEFINITE:
            answering.answers["Sell"] = code
            error = rpc_error(lambda: services.create(user, {sku: 5}))
            assert (error.code, error.reason) == (grpc.StatusCode.ABORTED, "ORDER_FAILED"), code
        books = services.assert_books_balance()
        assert [services.own_steps(order.order_sn) for order in books.orders] == [["CREATED", "FAILED"]] * len(DEFINITE)
        assert books.sales == []


def test_pitfall_12_every_sell_has_a_deadline_that_leaves_time_for_what_follows(tmp_path: Path) -> None:
    with services_answering(tmp_path) as (services, answering):
        user, sku = services.new_user(), services.new_sku(5)
        services.order.CreateOrder(create_request(user, {sku: 1}), timeout=5)
        services.order.CreateOrder(create_request(user, {sku: 1}))
        assert 0 < answering.seconds_left[0] < 4.1
        assert 0 < answering.seconds_left[1] < 9.1


# 14


def test_pitfall_14_what_is_put_into_the_cart_meanwhile_stays_there(
    open_services: Open, holds: Holds, callers: ThreadPoolExecutor
) -> None:
    services = open_services()
    user = services.new_user()
    bought, more, less, again, new = (services.new_sku(100) for _ in range(5))
    for sku in (bought, more, less, again):
        put(services, user, sku, 5)
    hold = holds.at(CrashPoint.CREATE_SOLD)
    creating = callers.submit(services.create, user, {})
    hold.wait()

    put(services, user, more, 6)
    put(services, user, less, 4)
    services.order.DeleteCartItems(pb.DeleteCartItemsRequest(user_id=user, skus=[again]))
    put(services, user, again, 3)
    put(services, user, new, 5)
    hold.release()

    order = creating.result()
    assert {line.sku: line.quantity for line in order.lines} == dict.fromkeys([bought, more, less, again], 5)
    assert cart(services, user) == sorted([(more, 6, True), (less, 4, True), (again, 3, True), (new, 5, True)])
