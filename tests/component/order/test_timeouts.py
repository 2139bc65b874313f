"""An order that is not paid in time, on a clock that a test moves."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from order_srv.crash_points import CrashPoint
from order_srv.domain.messages import NamedOrder, Timeout
from reback.inventory.v1 import inventory_pb2 as stock_pb
from reback.order.v1 import order_pb2 as pb
from tests.component.order import resting_orders
from tests.component.order.conftest import Open
from tests.support.holds import Holds
from tests.support.manual_clock import ManualClock
from tests.support.services import Services
from tests.support.waiting import wait_until

PAY_WITHIN = timedelta(seconds=600)
A_LONG_TIME = timedelta(days=1)
NEVER_SWEEPS = {"sweep_every": 3600}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def services(open_services: Open, clock: ManualClock) -> Services:
    return open_services(NEVER_SWEEPS, clock=clock, inventory_parts={"clock": clock})


def test_an_order_is_closed_when_its_time_is_over_and_its_stock_goes_back(
    services: Services, clock: ManualClock
) -> None:
    order = resting_orders.unpaid(services)
    clock.advance(PAY_WITHIN + timedelta(milliseconds=1))

    closed = services.wait_for_state(order, pb.ORDER_STATE_CLOSED)

    assert (closed.close_cause, closed.close_reason) == (pb.CLOSE_CAUSE_TIMEOUT, "")
    assert closed.close_time.ToNanoseconds() >= order.expire_time.ToNanoseconds()
    services.wait_for_available(order.lines[0].sku, 10)
    assert services.own_steps(order.order_sn) == ["CREATED", "SOLD", "TIMEOUT_SET", "CLOSED"]
    sale = services.inventory.GetSale(stock_pb.GetSaleRequest(order_sn=order.order_sn))
    assert sale.state == stock_pb.SALE_STATE_RETURNED


def test_no_order_is_closed_before_its_time(services: Services, clock: ManualClock) -> None:
    order = resting_orders.unpaid(services)
    clock.advance(PAY_WITHIN - timedelta(milliseconds=1))
    later = resting_orders.unpaid(services)
    clock.advance(timedelta(milliseconds=2))

    services.wait_for_state(order, pb.ORDER_STATE_CLOSED)

    assert services.get(later).state == pb.ORDER_STATE_UNPAID


def test_a_timeout_that_comes_too_early_comes_again(services: Services, clock: ManualClock, holds: Holds) -> None:
    order = resting_orders.unpaid(services)
    put_off = holds.at(CrashPoint.TIMEOUT_PUT_OFF)
    put_off.release()
    close_order = services.order_service.use_cases.close_order
    (row,) = [each for each in [close_order._orders.get(order.order_sn)] if each is not None]

    close_order.time_out(Timeout(row.expire_time, (NamedOrder(row.order_sn),)))

    put_off.wait()
    assert services.get(order) == order
    clock.advance(PAY_WITHIN + timedelta(milliseconds=1))
    services.wait_for_state(order, pb.ORDER_STATE_CLOSED)


@pytest.mark.parametrize(
    "make", [resting_orders.paid, resting_orders.finished, resting_orders.cancelled, resting_orders.refunded]
)
def test_the_timeout_of_an_order_that_no_longer_waits_changes_nothing(
    services: Services, clock: ManualClock, make: Callable[[Services], pb.Order]
) -> None:
    order, waiting = make(services), resting_orders.unpaid(services)
    clock.advance(A_LONG_TIME)
    services.wait_for_state(waiting, pb.ORDER_STATE_CLOSED)
    close_order = services.order_service.use_cases.close_order
    close_order.time_out(Timeout(clock.now(), (NamedOrder(order.order_sn),)))
    assert services.get(order) == order


def test_the_timeout_of_an_order_that_nobody_knows_is_done(services: Services, clock: ManualClock) -> None:
    services.order_service.use_cases.close_order.time_out(Timeout(clock.now(), (NamedOrder("nobody's"),)))


def test_a_payment_that_comes_when_it_is_due_but_not_closed_is_applied(
    services: Services, clock: ManualClock, holds: Holds
) -> None:
    order = resting_orders.unpaid(services)
    hold = holds.at(CrashPoint.CLOSE_HALF_SENT)
    clock.advance(A_LONG_TIME)
    hold.wait()

    paid = services.pay(order)

    hold.release()
    assert paid.payment.outcome == pb.PAYMENT_OUTCOME_APPLIED
    assert paid.order.state == pb.ORDER_STATE_PAID


def test_the_sweeper_closes_what_a_lost_timeout_left_open(services: Services, clock: ManualClock, holds: Holds) -> None:
    hold = holds.at(CrashPoint.CLOSE_HALF_SENT)  # holds the timeout, as if it had been lost
    order = resting_orders.unpaid(services)
    clock.advance(A_LONG_TIME)
    hold.wait()

    services.order_service.sweeper.sweep()

    closed = services.get(order)
    assert (closed.state, closed.close_cause) == (pb.ORDER_STATE_CLOSED, pb.CLOSE_CAUSE_TIMEOUT)
    assert services.available(order.lines[0].sku) == 10
    assert services.own_steps(order.order_sn)[-2:] == ["CLOSED", "STOCK_RETURNED"]
    hold.release()
    clock.advance(A_LONG_TIME)
    wait_until(lambda: services.get(order) == closed, "nothing changes any more")
