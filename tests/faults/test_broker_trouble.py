"""A broker whose disk is lost, that gives half messages up, and that rechecks resolved ones."""

from collections.abc import Iterator
from typing import Final

import grpc
import pytest

from common.messaging.port import Resolution
from order_srv.adapters.models import OrderRow
from order_srv.domain.messages import ORDER_REBACK, ORDER_TIMEOUT
from order_srv.domain.order_state import Cause, State
from reback.inventory.v1 import inventory_pb2 as stock_pb
from reback.order.v1 import order_pb2 as pb
from tests.faults.stage import CHECK_AFTER, CREATING_GRACE, PAY_WITHIN, RETURN_AFTER, SWEEP_GRACE, Stage, stage
from tests.support.broker_file import half_messages, lose_broker, messages
from tests.support.manual_clock import ManualClock
from tests.support.rpc_errors import reason_of
from tests.support.waiting import wait_until
from tests.support.worlds import SHORT_BROKER, World

ALL: Final = 10
RECHECKS: Final = f"{SHORT_BROKER}&recheck=on"
COMMIT, ROLLBACK, UNKNOWN = Resolution.COMMIT, Resolution.ROLLBACK, Resolution.UNKNOWN


@pytest.fixture
def rechecking(timed_world: World) -> Iterator[Stage]:
    """With a broker that rechecks resolved half messages, as RocketMQ does."""
    with stage(timed_world.folder, RECHECKS) as made:
        yield made


def unpaid(at: Stage, sku: str | None = None) -> pb.Order:
    return at.shop.create(at.shop.new_user(), {sku or at.shop.new_sku(ALL): 3})


def paid(at: Stage) -> pb.Order:
    return at.shop.pay(unpaid(at)).order


def cancel(at: Stage, order: pb.Order) -> pb.Order:
    return at.shop.order.CancelOrder(pb.CancelOrderRequest(user_id=order.user_id, order_sn=order.order_sn))


def recheck_said(at: Stage, order: pb.Order, cause: Cause, said: list[Resolution]) -> None:
    """Let the broker ask again; `said` is what it has heard after that, in all."""
    at.pass_time(CHECK_AFTER)
    wait_until(lambda: at.broker.said(order.order_sn, cause) == said, "a recheck")
    wait_until(lambda: not messages(at.folder, ORDER_REBACK, at.clock.now()), "every reback handled")


def rebacks(at: Stage, order: pb.Order) -> int:
    request = stock_pb.ListMovementsRequest(order_sn=order.order_sn)
    movements = at.shop.inventory.ListMovements(request).movements
    return sum(movement.kind == stock_pb.MOVEMENT_KIND_REBACK for movement in movements)


# A broker that rechecks


def test_recheck_of_a_live_order_gives_nothing_back(rechecking: Stage) -> None:
    order = unpaid(rechecking)
    recheck_said(rechecking, order, Cause.CREATE, [ROLLBACK, ROLLBACK])
    rechecking.settle()
    assert (rechecking.shop.get(order).state, rebacks(rechecking, order)) == (pb.ORDER_STATE_UNPAID, 0)


def test_recheck_of_a_cancel_that_lost_to_a_payment_leaves_the_order_paid(rechecking: Stage) -> None:
    order, cancelling = unpaid(rechecking), rechecking.holds.at("close_half_sent")
    cancelled = rechecking.calling(lambda: cancel(rechecking, order))
    cancelling.wait()
    rechecking.shop.pay(order)
    cancelling.release()
    assert reason_of(cancelled) == "ORDER_PAID"
    recheck_said(rechecking, order, Cause.CANCEL, [ROLLBACK, ROLLBACK])
    rechecking.settle()
    assert (rechecking.shop.get(order).state, rebacks(rechecking, order)) == (pb.ORDER_STATE_PAID, 0)


def test_recheck_of_a_closed_order_gives_its_stock_back_once(rechecking: Stage) -> None:
    order = unpaid(rechecking)
    cancel(rechecking, order)
    recheck_said(rechecking, order, Cause.CANCEL, [COMMIT, COMMIT])
    rechecking.settle()
    assert rebacks(rechecking, order) == 1


def test_recheck_of_a_closed_order_whose_stock_is_back_drops_the_message(rechecking: Stage) -> None:
    order = unpaid(rechecking)
    cancel(rechecking, order)
    rechecking.pass_time(RETURN_AFTER)
    rechecking.sweep()
    recheck_said(rechecking, order, Cause.CANCEL, [COMMIT, ROLLBACK])
    rechecking.settle()
    assert rebacks(rechecking, order) == 1


def test_create_of_an_order_that_is_closed_by_then_commits_at_the_recheck_and_harms_nobody(
    rechecking: Stage,
) -> None:
    order = unpaid(rechecking)
    cancel(rechecking, order)
    recheck_said(rechecking, order, Cause.CREATE, [ROLLBACK, COMMIT])
    rechecking.settle()
    assert rebacks(rechecking, order) == 1


def test_recheck_of_a_refused_create_gives_nothing_back(rechecking: Stage) -> None:
    user, sku = rechecking.shop.new_user(), rechecking.shop.new_sku(ALL)
    assert reason_of(rechecking.calling(lambda: rechecking.shop.create(user, {sku: ALL + 1}))) == "NO_STOCK"
    (order,) = rechecking.shop.orders_of(user)
    recheck_said(rechecking, order, Cause.CREATE, [ROLLBACK, ROLLBACK])  # it owes nothing
    rechecking.settle()
    assert rechecking.shop.available(sku) == ALL


# A broker that gives up


def test_close_whose_check_backs_are_exhausted_is_settled_by_the_sweeper(timed_world: World) -> None:
    with stage(timed_world.folder, f"{SHORT_BROKER}&check_max=2") as at:
        order = unpaid(at)
        closed = OrderRow.select().where(OrderRow.state == State.CLOSED)
        at.database.lose_commit(lambda: closed.exists(at.database.engine), happens=True, then_down=True)
        assert reason_of(at.calling(lambda: cancel(at, order))) == "OUTCOME_UNKNOWN"
        at.pass_time_until(lambda: bool(at.broker.dead_letters(ORDER_REBACK, "%check-back")), "the broker gives up")
        at.database.down = False
        at.settle()
        assert at.shop.get(order).close_cause == pb.CLOSE_CAUSE_CANCEL
        assert rebacks(at, order) == 1


# A broker whose disk is lost


def test_sweeper_settles_every_order_when_the_brokers_disk_is_lost(timed_world: World) -> None:
    clock = ManualClock()
    with stage(timed_world.folder, clock=clock) as at:
        sku = at.shop.new_sku(ALL * ALL)
        waiting, bought = unpaid(at, sku), at.shop.pay(unpaid(at, sku)).order
        abandoned = left_creating(at, sku)
        closed = left_closed(at, sku)
        users = at.shop.users
        assert half_messages(timed_world.folder) == 2
        assert messages(timed_world.folder, ORDER_TIMEOUT, clock.now() + PAY_WITHIN + CHECK_AFTER) == 4
    lose_broker(timed_world.folder)
    clock.advance(CREATING_GRACE)
    with stage(timed_world.folder, clock=clock) as at:
        at.shop.users |= users
        at.settle()
        states = [at.shop.get(order).state for order in (waiting, bought, abandoned, closed)]
        alive = [pb.ORDER_STATE_UNPAID, pb.ORDER_STATE_PAID]
        assert states == [*alive, pb.ORDER_STATE_FAILED, pb.ORDER_STATE_CLOSED]
        at.pass_time(PAY_WITHIN + SWEEP_GRACE)
        at.settle()
        assert at.shop.get(waiting).close_cause == pb.CLOSE_CAUSE_TIMEOUT
        assert at.shop.available(sku) == ALL * ALL - 3
        assert not messages(timed_world.folder, ORDER_REBACK, clock.now())


def left_creating(at: Stage, sku: str) -> pb.Order:
    """An order whose stock is sold, and whose half message waits."""
    user = at.shop.new_user()
    last = OrderRow.select().where((OrderRow.user_id == user) & (OrderRow.state == State.UNPAID))
    at.database.lose_commit(lambda: last.exists(at.database.engine), happens=False, then_down=True)
    assert reason_of(at.calling(lambda: at.shop.create(user, {sku: 3}))) == "OUTCOME_UNKNOWN"
    at.database.down = False
    (order,) = at.shop.orders_of(user)
    assert order.state == pb.ORDER_STATE_CREATING
    return order


def left_closed(at: Stage, sku: str) -> pb.Order:
    """An order that is closed, and whose half message waits."""
    order = unpaid(at, sku)
    closed = OrderRow.select().where(OrderRow.state == State.CLOSED)
    at.database.lose_commit(lambda: closed.exists(at.database.engine), happens=True, then_down=True)
    with pytest.raises(grpc.RpcError):
        cancel(at, order)
    at.database.down = False
    assert at.shop.get(order).state == pb.ORDER_STATE_CLOSED
    return order
