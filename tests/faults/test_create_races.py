"""A running create, held at a gap, against the broker's question, the sweeper and its own repeat: both winners."""

from collections.abc import Iterator

import pytest

from common.messaging.port import Resolution
from order_srv.crash_points import CrashPoint
from order_srv.domain.order_state import Cause
from reback.inventory.v1 import inventory_pb2 as stock_pb
from reback.order.v1 import order_pb2 as pb
from tests.faults.stage import A_MOMENT, CHECK_AFTER, CREATING_GRACE, NOBODY_ASKS, Stage, stage
from tests.support.rpc_errors import reason_of
from tests.support.services import create_request
from tests.support.waiting import wait_until
from tests.support.worlds import World

BEFORE_THE_MOVE = (CrashPoint.CREATE_HALF_SENT, CrashPoint.CREATE_SOLD, CrashPoint.CREATE_TIMEOUT_SENT)


@pytest.fixture
def asking(timed_world: World) -> Iterator[Stage]:
    """With a broker that asks about half messages."""
    with stage(timed_world.folder) as made:
        yield made


@pytest.fixture
def silent(timed_world: World) -> Iterator[Stage]:
    """With a broker that never asks, so that the sweeper is alone."""
    with stage(timed_world.folder, NOBODY_ASKS) as made:
        yield made


def sale_is_returned(on: Stage, order_sn: str) -> bool:
    sales = on.shop.inventory.BatchGetSales(stock_pb.BatchGetSalesRequest(order_sns=[order_sn])).sales
    return [sale.state for sale in sales] == [stock_pb.SALE_STATE_RETURNED]


def assert_failed_once(on: Stage, order_sn: str, sku: str) -> None:
    on.settle()
    assert on.shop.available(sku) == 10
    steps = on.shop.steps(order_sn)
    assert (steps.count("FAILED"), steps.count("STOCK_RETURNED")) == (1, 1)
    assert "SOLD" not in steps


def assert_lives(on: Stage, order: pb.Order, sku: str) -> None:
    on.settle()
    assert on.shop.get(order).state == pb.ORDER_STATE_UNPAID
    assert on.shop.available(sku) == 7
    assert on.shop.steps(order.order_sn).count("FAILED") == 0


@pytest.mark.parametrize("point", BEFORE_THE_MOVE)
def test_check_back_past_the_grace_wins_over_a_create_that_did_not_move_yet(asking: Stage, point: CrashPoint) -> None:
    user, sku, held = asking.shop.new_user(), asking.shop.new_sku(), asking.holds.at(point)
    creating = asking.calling(lambda: asking.shop.create(user, {sku: 3}))
    held.wait()
    order_sn = asking.newest_order_sn(user)
    asking.pass_time(CREATING_GRACE + A_MOMENT)
    wait_until(lambda: sale_is_returned(asking, order_sn), "stock back")
    assert asking.broker.said(order_sn, Cause.CREATE) == [Resolution.COMMIT]
    held.release()
    assert reason_of(creating) == "ORDER_FAILED"
    assert_failed_once(asking, order_sn, sku)


@pytest.mark.parametrize("point", BEFORE_THE_MOVE)
def test_create_wins_over_a_check_back_within_the_grace(asking: Stage, point: CrashPoint) -> None:
    user, sku, held = asking.shop.new_user(), asking.shop.new_sku(), asking.holds.at(point)
    creating = asking.calling(lambda: asking.shop.create(user, {sku: 3}))
    held.wait()
    order_sn = asking.newest_order_sn(user)
    asking.pass_time(CHECK_AFTER)
    wait_until(lambda: asking.broker.said(order_sn, Cause.CREATE) == [Resolution.UNKNOWN], "an answer to the broker")
    held.release()
    assert creating.result().state == pb.ORDER_STATE_UNPAID
    asking.pass_time(CREATING_GRACE)
    assert_lives(asking, creating.result(), sku)
    assert set(asking.broker.said(order_sn, Cause.CREATE)) == {Resolution.UNKNOWN, Resolution.ROLLBACK}


def test_check_back_after_the_move_leaves_the_order_alone(asking: Stage) -> None:
    user, sku, held = asking.shop.new_user(), asking.shop.new_sku(), asking.holds.at(CrashPoint.CREATE_MOVED)
    creating = asking.calling(lambda: asking.shop.create(user, {sku: 3}))
    held.wait()
    order_sn = asking.newest_order_sn(user)
    asking.pass_time(CREATING_GRACE + A_MOMENT)
    wait_until(lambda: asking.broker.said(order_sn, Cause.CREATE) == [Resolution.ROLLBACK], "an answer to the broker")
    held.release()
    assert_lives(asking, creating.result(), sku)


@pytest.mark.parametrize("point", BEFORE_THE_MOVE)
def test_sweeper_past_the_grace_wins_over_a_create_that_did_not_move_yet(silent: Stage, point: CrashPoint) -> None:
    user, sku, held = silent.shop.new_user(), silent.shop.new_sku(), silent.holds.at(point)
    creating = silent.calling(lambda: silent.shop.create(user, {sku: 3}))
    held.wait()
    order_sn = silent.newest_order_sn(user)
    silent.pass_time(CREATING_GRACE + A_MOMENT)
    silent.sweep()
    assert sale_is_returned(silent, order_sn)
    held.release()
    assert reason_of(creating) == "ORDER_FAILED"
    assert_failed_once(silent, order_sn, sku)


@pytest.mark.parametrize("point", BEFORE_THE_MOVE)
def test_create_wins_over_a_sweeper_within_the_grace(silent: Stage, point: CrashPoint) -> None:
    user, sku, held = silent.shop.new_user(), silent.shop.new_sku(), silent.holds.at(point)
    creating = silent.calling(lambda: silent.shop.create(user, {sku: 3}))
    held.wait()
    silent.pass_time(CREATING_GRACE - A_MOMENT)
    silent.sweep()
    held.release()
    order = creating.result()
    silent.pass_time(CREATING_GRACE)
    silent.sweep()
    assert_lives(silent, order, sku)
    assert silent.broker.said(order.order_sn, Cause.CREATE) == [Resolution.ROLLBACK]


def test_refused_create_that_the_broker_failed_first_is_told_why_and_commits_nothing_twice(asking: Stage) -> None:
    user, sku, held = asking.shop.new_user(), asking.shop.new_sku(), asking.holds.at(CrashPoint.CREATE_REFUSED)
    creating = asking.calling(lambda: asking.shop.create(user, {sku: 11}))
    held.wait()
    order_sn = asking.newest_order_sn(user)
    asking.pass_time(CREATING_GRACE + A_MOMENT)
    wait_until(lambda: asking.broker.said(order_sn, Cause.CREATE) == [Resolution.COMMIT], "an answer to the broker")
    held.release()
    assert reason_of(creating) == "NO_STOCK"
    assert_failed_once(asking, order_sn, sku)


def test_repeat_of_a_running_create_waits_and_gets_its_order(silent: Stage) -> None:
    user, sku, held = silent.shop.new_user(), silent.shop.new_sku(), silent.holds.at(CrashPoint.CREATE_SOLD)
    request = create_request(user, {sku: 3})
    first = silent.calling(lambda: silent.shop.order.CreateOrder(request))
    held.wait()
    repeats = [silent.calling(lambda: silent.shop.order.CreateOrder(request)) for _ in range(4)]
    assert reason_of(silent.calling(lambda: silent.shop.order.CreateOrder(request, timeout=0.5))) in {
        "ORDER_CREATING",
        "DEADLINE_EXCEEDED",  # by the client's own clock
    }
    held.release()
    assert {repeat.result().order_sn for repeat in repeats} == {first.result().order_sn}
    assert_lives(silent, first.result(), sku)
    assert len(silent.shop.orders_of(user)) == 1


def test_repeat_of_a_create_that_the_sweeper_failed_is_a_new_order(silent: Stage) -> None:
    user, sku, held = silent.shop.new_user(), silent.shop.new_sku(), silent.holds.at(CrashPoint.CREATE_SOLD)
    request = create_request(user, {sku: 3})
    first = silent.calling(lambda: silent.shop.order.CreateOrder(request))
    held.wait()
    silent.pass_time(CREATING_GRACE + A_MOMENT)
    silent.sweep()
    second = silent.shop.order.CreateOrder(request)
    held.release()
    assert reason_of(first) == "ORDER_FAILED"
    assert silent.shop.order.CreateOrder(request) == second
    assert_lives(silent, second, sku)
