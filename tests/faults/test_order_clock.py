"""Clocks ten minutes apart: the order service never closes an order early by its own."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import pytest

from common.clock import Clock
from order_srv.crash_points import CrashPoint
from order_srv.domain.messages import ORDER_TIMEOUT
from reback.order.v1 import order_pb2 as pb
from tests.faults.stage import A_MOMENT, CREATING_GRACE, PAY_WITHIN, SWEEP_GRACE, Stage, stage
from tests.support.broker_file import messages
from tests.support.manual_clock import ManualClock
from tests.support.order_messages import timeout_message
from tests.support.rpc_errors import reason_of
from tests.support.waiting import wait_until
from tests.support.worlds import World

OFF: Final = timedelta(minutes=10)
ALL: Final = 10


@dataclass
class OffClock(Clock):
    """Another machine's clock, which was right until it was set."""

    clock: Clock
    ahead: timedelta = timedelta()

    def now(self) -> datetime:
        return self.clock.now() + self.ahead


@pytest.fixture
def at(timed_world: World) -> Iterator[Stage]:
    with stage(timed_world.folder) as made:
        yield made


def unpaid(at: Stage) -> pb.Order:
    return at.shop.create(at.shop.new_user(), {at.shop.new_sku(ALL): 3})


def assert_open(at: Stage, order: pb.Order, broker_clock: Clock | None = None) -> None:
    """Also after everybody who might close it had his turn."""
    at.sweep()
    due = (broker_clock or at.clock).now()
    wait_until(lambda: not messages(at.folder, ORDER_TIMEOUT, due), "every timeout handled")
    assert at.shop.get(order).state == pb.ORDER_STATE_UNPAID


def assert_closed_by_timeout(at: Stage, order: pb.Order) -> None:
    assert at.shop.wait_for_state(order, pb.ORDER_STATE_CLOSED).close_cause == pb.CLOSE_CAUSE_TIMEOUT
    at.settle()
    assert at.shop.available(order.lines[0].sku) == ALL


@pytest.mark.parametrize("ahead", [OFF, -OFF], ids=["ahead", "behind"])
def test_order_is_closed_in_its_own_time_by_a_broker_whose_clock_is_set(timed_world: World, ahead: timedelta) -> None:
    clock = ManualClock()
    broker_clock = OffClock(clock)
    with stage(timed_world.folder, clock=clock, broker_clock=broker_clock) as at:
        order = unpaid(at)
        broker_clock.ahead = ahead
        assert_open(at, order, broker_clock)
        at.pass_time(PAY_WITHIN - A_MOMENT)
        assert_open(at, order, broker_clock)
        at.pass_time(SWEEP_GRACE + 2 * A_MOMENT)
        at.sweep()
        assert_closed_by_timeout(at, order)


def test_timeout_of_a_machine_that_is_ahead_does_not_close_an_order_early(at: Stage) -> None:
    order = unpaid(at)
    at.broker.publish(timeout_message(at.clock.now(), order.order_sn))
    assert_open(at, order)
    at.timeout_comes()
    assert_closed_by_timeout(at, order)


def test_order_stays_open_while_its_services_clock_is_set_back(at: Stage) -> None:
    order = unpaid(at)
    at.pass_time(PAY_WITHIN - A_MOMENT)
    at.pass_time(-OFF)
    assert_open(at, order)
    at.pass_time(OFF - A_MOMENT)
    assert_open(at, order)
    at.pass_time(3 * A_MOMENT)
    assert_closed_by_timeout(at, order)


def test_create_is_not_failed_early_while_its_services_clock_is_set_back(at: Stage) -> None:
    user, sku, held = at.shop.new_user(), at.shop.new_sku(ALL), at.holds.at(CrashPoint.CREATE_SOLD)
    creating = at.calling(lambda: at.shop.create(user, {sku: 3}))
    held.wait()
    at.pass_time(-OFF)
    at.sweep()
    at.pass_time(OFF + CREATING_GRACE - A_MOMENT)
    at.sweep()
    assert at.shop.orders_of(user)[0].state == pb.ORDER_STATE_CREATING
    at.pass_time(2 * A_MOMENT)
    at.sweep()
    held.release()
    assert reason_of(creating) == "ORDER_FAILED"
    at.settle()
    assert at.shop.available(sku) == ALL
