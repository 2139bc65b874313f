"""Messages that come a hundred times, early, twice, late or never, and answers that get lost."""

from collections.abc import Iterator
from datetime import UTC, timedelta
from threading import Event
from typing import Final

import grpc
import pytest

from common.messaging.port import Message, Resolution
from inventory_srv.crash_points import CrashPoint as InventoryPoint
from order_srv.domain.messages import ORDER_REBACK, ORDER_TIMEOUT, Timeout
from order_srv.domain.order_state import Cause
from order_srv.entrypoints.consumers import GROUP
from reback.inventory.v1 import inventory_pb2 as stock_pb
from reback.order.v1 import order_pb2 as pb
from tests.faults.stage import A_MOMENT, CREATING_GRACE, PAY_WITHIN, SWEEP_GRACE, Stage, stage
from tests.support.broker_file import lose_messages, messages
from tests.support.order_messages import reback_message, timeout_message
from tests.support.rpc_errors import reason_of
from tests.support.services import create_request
from tests.support.waiting import wait_until
from tests.support.worlds import SHORT_BROKER, World

ALL: Final = 10
TIMES: Final = 100


@pytest.fixture
def at(timed_world: World) -> Iterator[Stage]:
    with stage(timed_world.folder, f"{SHORT_BROKER}&tries=3") as made:
        yield made


def unpaid(at: Stage) -> pb.Order:
    return at.shop.create(at.shop.new_user(), {at.shop.new_sku(ALL): 3})


def sku_of(order: pb.Order) -> str:
    return order.lines[0].sku


def cancel(at: Stage, order: pb.Order) -> pb.Order:
    return at.shop.order.CancelOrder(pb.CancelOrderRequest(user_id=order.user_id, order_sn=order.order_sn))


def timeout_of(order: pb.Order, *, told_time: timedelta = timedelta()) -> Message:
    """Its timeout message; `told_time` is how far off the time is that it tells."""
    return timeout_message(order.expire_time.ToDatetime(UTC) + told_time, order.order_sn)


def all_handled(at: Stage, topic: str) -> None:
    wait_until(lambda: not messages(at.folder, topic, due_until=at.clock.now()), f"every message of {topic} handled")


def rebacks(at: Stage, sku: str) -> int:
    """How often stock of a sku was given back."""
    movements = at.shop.inventory.ListMovements(stock_pb.ListMovementsRequest(sku=sku)).movements
    return sum(movement.kind == stock_pb.MOVEMENT_KIND_REBACK for movement in movements)


# Rebacks


def test_one_reback_delivered_100_times_returns_the_stock_once(at: Stage) -> None:
    order = cancel(at, unpaid(at))
    reback = reback_message(Cause.CANCEL, at.clock.now(), order.order_sn)
    for _ in range(TIMES):
        at.broker.publish(reback)
    all_handled(at, ORDER_REBACK)
    at.settle()
    assert rebacks(at, sku_of(order)) == 1
    assert at.shop.available(sku_of(order)) == ALL


def test_sell_that_arrives_after_its_reback_is_refused(at: Stage) -> None:
    user, sku, arrives = at.shop.new_user(), at.shop.new_sku(ALL), Event()
    at.proxy.before["Sell"] = arrives.wait
    creating = at.calling(lambda: at.shop.order.CreateOrder(create_request(user, {sku: 3}), timeout=2.0))
    assert reason_of(creating) in {"ORDER_FAILED", "DEADLINE_EXCEEDED"}
    (order,) = at.shop.orders_of(user)
    all_handled(at, ORDER_REBACK)
    at.settle()
    arrives.set()
    wait_until(lambda: bool(at.proxy.codes["Sell"]), "inventory's answer to the late sell")
    assert at.proxy.codes["Sell"] == [grpc.StatusCode.FAILED_PRECONDITION]
    assert at.shop.get(order).failure_reason == "STOCK_UNCLEAR"
    at.settle()
    assert at.shop.available(sku) == ALL


def test_sell_whose_answer_is_lost_is_not_repeated_and_returned_once(at: Stage) -> None:
    user, sku = at.shop.new_user(), at.shop.new_sku(ALL)
    at.proxy.lose_answers("Sell", "BatchGetSales")
    assert reason_of(at.calling(lambda: at.shop.create(user, {sku: 3}))) == "ORDER_FAILED"
    (order,) = at.shop.orders_of(user)
    assert at.broker.said(order.order_sn, Cause.CREATE) == [Resolution.COMMIT]
    all_handled(at, ORDER_REBACK)
    at.proxy.heal()
    at.settle()
    assert (at.proxy.calls["Sell"], at.proxy.codes["Sell"]) == (1, [grpc.StatusCode.OK])
    assert rebacks(at, sku) == 1
    assert at.shop.available(sku) == ALL


def test_sell_whose_answer_is_lost_lives_if_inventory_knows_its_sale(at: Stage) -> None:
    user, sku = at.shop.new_user(), at.shop.new_sku(ALL)
    at.proxy.lose_answers("Sell")
    order = at.shop.create(user, {sku: 3})
    assert order.state == pb.ORDER_STATE_UNPAID
    assert at.broker.said(order.order_sn, Cause.CREATE) == [Resolution.ROLLBACK]
    at.settle()
    assert (at.proxy.calls["Sell"], rebacks(at, sku), at.shop.available(sku)) == (1, 0, ALL - 3)


def test_sell_that_timed_out_and_was_committed_later_is_returned(at: Stage) -> None:
    user, sku = at.shop.new_user(), at.shop.new_sku(ALL)
    commit = at.holds.at(InventoryPoint.BATCH_BEFORE_COMMIT)
    creating = at.calling(lambda: at.shop.order.CreateOrder(create_request(user, {sku: 3}), timeout=2.0))
    commit.wait()
    assert reason_of(creating) in {"ORDER_FAILED", "DEADLINE_EXCEEDED"}
    wait_until(lambda: at.shop.orders_of(user)[0].state == pb.ORDER_STATE_FAILED, "failed")
    commit.release()
    all_handled(at, ORDER_REBACK)
    at.settle()
    assert at.shop.orders_of(user)[0].failure_reason == "STOCK_UNCLEAR"
    assert rebacks(at, sku) == 1
    assert at.shop.available(sku) == ALL


# Timeouts


def test_timeout_that_comes_early_is_put_off_and_closes_the_order_when_it_is_due(at: Stage) -> None:
    order = unpaid(at)
    lose_messages(at.folder, ORDER_TIMEOUT)
    at.broker.publish(timeout_of(order))
    all_handled(at, ORDER_TIMEOUT)
    at.pass_time(PAY_WITHIN - A_MOMENT)
    at.sweep()
    all_handled(at, ORDER_TIMEOUT)
    assert at.shop.get(order).state == pb.ORDER_STATE_UNPAID
    at.pass_time(2 * A_MOMENT)
    assert at.shop.wait_for_state(order, pb.ORDER_STATE_CLOSED).close_cause == pb.CLOSE_CAUSE_TIMEOUT
    at.settle()


def test_timeout_of_an_order_that_is_being_created_is_put_off_until_it_is_at_rest(at: Stage) -> None:
    user, sku, sold = at.shop.new_user(), at.shop.new_sku(ALL), at.holds.at("create_timeout_sent")
    creating = at.calling(lambda: at.shop.create(user, {sku: 3}))
    sold.wait()
    at.broker.publish(timeout_of(at.shop.orders_of(user)[0]))
    all_handled(at, ORDER_TIMEOUT)
    sold.release()
    assert creating.result().state == pb.ORDER_STATE_UNPAID
    at.timeout_comes()
    at.shop.wait_for_state(creating.result(), pb.ORDER_STATE_CLOSED)
    at.settle()
    assert at.shop.available(sku) == ALL


@pytest.mark.parametrize("told_time", [timedelta(minutes=-10), timedelta(minutes=10)])
def test_timeout_that_tells_another_time_than_the_row_is_judged_by_the_row(at: Stage, told_time: timedelta) -> None:
    order = unpaid(at)
    lose_messages(at.folder, ORDER_TIMEOUT)
    at.broker.publish(timeout_of(order, told_time=told_time))
    all_handled(at, ORDER_TIMEOUT)
    at.pass_time(PAY_WITHIN - A_MOMENT)
    all_handled(at, ORDER_TIMEOUT)
    assert at.shop.get(order).state == pb.ORDER_STATE_UNPAID
    at.pass_time(2 * A_MOMENT)
    at.shop.wait_for_state(order, pb.ORDER_STATE_CLOSED)
    at.settle()


def test_timeout_that_comes_many_times_closes_the_order_once(at: Stage) -> None:
    order = unpaid(at)
    for _ in range(TIMES // 10):
        at.broker.publish_later(timeout_of(order), PAY_WITHIN)
    at.timeout_comes()
    all_handled(at, ORDER_TIMEOUT)
    all_handled(at, ORDER_REBACK)
    at.settle()
    assert at.shop.steps(order.order_sn).count("CLOSED") == 1
    assert rebacks(at, sku_of(order)) == 1


def test_timeout_that_comes_late_leaves_orders_alone_that_are_at_rest(at: Stage) -> None:
    paid, cancelled = at.shop.pay(unpaid(at)).order, cancel(at, unpaid(at))
    finished = at.shop.pay(unpaid(at)).order
    at.shop.order.FinishOrder(pb.FinishOrderRequest(order_sn=finished.order_sn))
    at.pass_time(2 * PAY_WITHIN)
    all_handled(at, ORDER_TIMEOUT)
    at.settle()
    states = [at.shop.get(order).state for order in (paid, cancelled, finished)]
    assert states == [pb.ORDER_STATE_PAID, pb.ORDER_STATE_CLOSED, pb.ORDER_STATE_FINISHED]
    assert not at.broker.dead_letters(ORDER_TIMEOUT, GROUP)


def test_timeout_of_an_order_that_never_was_is_done(at: Stage) -> None:
    at.broker.publish(timeout_message(at.clock.now(), "nobody's"))
    all_handled(at, ORDER_TIMEOUT)
    assert not at.broker.dead_letters(ORDER_TIMEOUT, GROUP)


def test_timeout_that_failed_past_its_tries_is_a_dead_letter_and_its_replay_closes_the_order(at: Stage) -> None:
    order = unpaid(at)
    at.broker.broken.add("in_transaction")
    at.timeout_comes()
    at.pass_time_until(lambda: bool(at.broker.dead_letters(ORDER_TIMEOUT, GROUP)), "a dead letter")
    assert at.shop.get(order).state == pb.ORDER_STATE_UNPAID
    (letter,) = at.broker.dead_letters(ORDER_TIMEOUT, GROUP)
    (named,) = Timeout.from_message(letter.message).orders
    assert (letter.attempts, named.order_sn) == (3, order.order_sn)
    at.broker.broken.clear()
    at.broker.replay(ORDER_TIMEOUT, GROUP, letter.id)
    assert at.shop.wait_for_state(order, pb.ORDER_STATE_CLOSED).close_cause == pb.CLOSE_CAUSE_TIMEOUT
    at.settle()
    assert not at.broker.dead_letters(ORDER_TIMEOUT, GROUP)


def test_order_whose_timeout_is_lost_is_closed_by_the_sweeper_after_its_grace(at: Stage) -> None:
    order = unpaid(at)
    lose_messages(at.folder, ORDER_TIMEOUT)
    at.pass_time(PAY_WITHIN + SWEEP_GRACE)
    at.sweep()
    assert at.shop.get(order).state == pb.ORDER_STATE_UNPAID
    at.pass_time(A_MOMENT)
    at.sweep()
    assert at.shop.get(order).close_cause == pb.CLOSE_CAUSE_TIMEOUT
    at.settle()
    assert at.shop.available(sku_of(order)) == ALL


# The broker out of reach


@pytest.mark.parametrize("takes", [True, False], ids=["answer lost", "message lost"])
@pytest.mark.parametrize(
    ("method", "answer", "failure"),
    [
        ("in_transaction", "BROKER_UNAVAILABLE", "BROKER_UNAVAILABLE"),
        ("begin_publish_later", "ORDER_FAILED", "TIMEOUT_NOT_SET"),  # before inventory was asked
        ("publish_later", "ORDER_FAILED", "TIMEOUT_NOT_SET"),  # told when inventory has sold
    ],
)
def test_create_that_the_broker_fails_is_failed_and_its_repeat_is_a_new_order(
    at: Stage, method: str, answer: str, failure: str, takes: bool
) -> None:
    user, sku = at.shop.new_user(), at.shop.new_sku(ALL)
    request = create_request(user, {sku: 3})
    at.broker.broken.add(method)
    at.broker.takes = takes
    assert reason_of(at.calling(lambda: at.shop.order.CreateOrder(request))) == answer
    at.broker.broken.clear()
    (failed,) = at.shop.orders_of(user)
    assert (failed.state, failed.failure_reason) == (pb.ORDER_STATE_FAILED, failure)
    order = at.shop.order.CreateOrder(request)
    at.pass_time(CREATING_GRACE)
    all_handled(at, ORDER_REBACK)
    at.settle()
    assert at.shop.get(order).state == pb.ORDER_STATE_UNPAID
    assert at.shop.available(sku) == ALL - 3


def test_the_timeout_of_an_order_that_inventory_refused_changes_nothing(at: Stage) -> None:
    user, sku = at.shop.new_user(), at.shop.new_sku(ALL)
    assert reason_of(at.calling(lambda: at.shop.create(user, {sku: ALL + 1}))) == "NO_STOCK"
    (refused,) = at.shop.orders_of(user)
    at.pass_time(PAY_WITHIN + A_MOMENT)
    all_handled(at, ORDER_TIMEOUT)
    at.settle()
    assert at.shop.get(refused).state == pb.ORDER_STATE_FAILED
    assert at.shop.own_steps(refused.order_sn) == ["CREATED", "FAILED"]
    assert rebacks(at, sku) == 0


def test_a_timeout_that_comes_while_inventory_still_sells_comes_again(at: Stage) -> None:
    user, sku, sells = at.shop.new_user(), at.shop.new_sku(ALL), Event()
    at.proxy.before["Sell"] = sells.wait
    creating = at.calling(lambda: at.shop.create(user, {sku: 3}))
    wait_until(lambda: at.proxy.calls["Sell"] == 1, "the sell is on its way")
    (order,) = at.shop.orders_of(user)
    at.broker.publish(timeout_of(order))
    all_handled(at, ORDER_TIMEOUT)
    assert at.shop.get(order).state == pb.ORDER_STATE_CREATING
    sells.set()
    creating.result()
    assert at.shop.get(order).state == pb.ORDER_STATE_UNPAID
    at.pass_time(PAY_WITHIN + A_MOMENT)
    assert at.shop.wait_for_state(order, pb.ORDER_STATE_CLOSED).close_cause == pb.CLOSE_CAUSE_TIMEOUT
    at.settle()
    assert at.shop.available(sku) == ALL


@pytest.mark.parametrize("takes", [True, False], ids=["answer lost", "message lost"])
def test_cancel_whose_half_message_fails_leaves_the_order_to_the_broker(at: Stage, takes: bool) -> None:
    order = unpaid(at)
    at.broker.broken.add("in_transaction")
    at.broker.takes = takes
    assert reason_of(at.calling(lambda: cancel(at, order))) == "BROKER_UNAVAILABLE"
    at.broker.broken.clear()
    assert at.shop.get(order).state == pb.ORDER_STATE_UNPAID
    assert cancel(at, order).close_cause == pb.CLOSE_CAUSE_CANCEL
    at.pass_time(CREATING_GRACE)
    all_handled(at, ORDER_REBACK)
    at.settle()
    assert at.shop.steps(order.order_sn).count("CLOSED") == 1
