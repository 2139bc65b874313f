"""How a group of several orders is brought to each crash point that it passes, its members unlike each other."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any, Final

import grpc
import pytest

from common.clock import SystemClock
from common.messaging.port import Resolution
from common.rpc.errors import to_domain_error
from order_srv.crash_points import CrashPoint
from order_srv.domain.messages import ORDER_TIMEOUT
from order_srv.domain.order_state import Cause
from reback.order.v1 import order_pb2 as pb
from tests.faults.order_crash_scenarios import BUSY, STOCK, SWEEPS, WANTED, Scenario, Scene
from tests.support.order_messages import reback_message, timeout_message
from tests.support.repeated_calls import until_done
from tests.support.services import create_request, pay_request
from tests.support.tables import let_orders_be_due
from tests.support.waiting import wait_until

MEMBERS: Final = 3
"""How many calls the groups of the dying service gather."""

Call = Callable[[], Any]


@dataclass
class GroupScene(Scene):
    """A scene with several orders.

    Attributes:
        skus: One for each member.
        made: The orders that were made before.
        answered: What callers were told before the service died, by their place in the group.
        repeats: Their calls, made again.
    """

    skus: list[str] = field(default_factory=list)
    made: list[pb.Order] = field(default_factory=list)
    answered: dict[int, pb.Order] = field(default_factory=dict)
    repeats: Sequence[Call] = ()

    def __post_init__(self) -> None:
        self.skus = [self.shop.new_sku(STOCK) for _ in range(MEMBERS)]

    def all_die(self, *calls: Call) -> None:
        """Make calls in one group that the service does not live to end. Some of its callers may be told before."""
        self.repeats = calls
        with ThreadPoolExecutor(len(calls)) as pool:
            futures = [pool.submit(call) for call in calls]
        errors = [future.exception() for future in futures]
        for place, (future, error) in enumerate(zip(futures, errors, strict=True)):
            if error is None:
                self.answered[place] = future.result()
        codes = {error.code() for error in errors if isinstance(error, grpc.RpcError)}
        assert grpc.StatusCode.UNAVAILABLE in codes, futures

    def creating(self, *quantities: int) -> list[Call]:
        """Calls that create an order of each sku."""
        requests = [create_request(self.user, {sku: n}) for sku, n in zip(self.skus, quantities, strict=True)]
        return [self.calling("CreateOrder", request) for request in requests]

    def calling(self, method: str, request: Any) -> Call:
        """A call of the order service that serves at the time."""
        return lambda: getattr(self.shop.order, method)(request)

    def create_all(self) -> list[pb.Order]:
        """An order of each sku, made in one group."""
        with ThreadPoolExecutor(MEMBERS) as pool:
            self.made = list(pool.map(lambda call: call(), self.creating(*[WANTED] * MEMBERS)))
        return self.made

    def pay_for(self, *orders: pb.Order) -> None:
        for order in orders:
            self.shop.order.PayOrder(pay_request(order))

    def available(self) -> list[int]:
        return [self.shop.available(sku) for sku in self.skus]


# How it is brought there


def group_creating(scene: GroupScene) -> None:
    """One is sold, one is refused, of one nothing is heard."""
    scene.proxy.leave_out(scene.skus[2])
    scene.all_die(*scene.creating(WANTED, STOCK + 1, WANTED))


def group_creating_without_broker(scene: GroupScene) -> None:
    scene.broker_lock.lock()
    group_creating(scene)


def group_creating_without_timeout(scene: GroupScene) -> None:
    scene.broker_lock.refuse(ORDER_TIMEOUT)
    group_creating(scene)


def group_cancelling(scene: GroupScene) -> None:
    """Two orders, one of them twice."""
    first, second, _ = scene.create_all()
    cancels = [pb.CancelOrderRequest(user_id=scene.user, order_sn=each.order_sn) for each in (first, second, first)]
    scene.all_die(*(scene.calling("CancelOrder", request) for request in cancels))


def group_refunding(scene: GroupScene) -> None:
    scene.pay_for(*scene.create_all())
    refunds = [pb.RefundOrderRequest(order_sn=order.order_sn) for order in scene.made]
    scene.all_die(*(scene.calling("RefundOrder", request) for request in refunds))


def group_timing_out(scene: GroupScene) -> None:
    """One message names an order that is paid, one that is missing, and two that are due."""
    scene.pay_for(scene.create_all()[0])
    let_orders_be_due(scene.folder)
    _timeout_comes(scene)


def group_timeout_comes_early(scene: GroupScene) -> None:
    """One message names an order that is due, and two that are not."""
    due = scene.create_all()[0]
    let_orders_be_due(scene.folder, due.order_sn)
    _timeout_comes(scene)


def group_timeouts_are_lost(scene: GroupScene) -> None:
    scene.pay_for(scene.create_all()[0])
    let_orders_be_due(scene.folder)  # their message comes in ten minutes


def group_timeouts_and_answers_are_lost(scene: GroupScene) -> None:
    scene.proxy.lose_answers("Reback")
    group_timeouts_are_lost(scene)


def group_canceller_died(scene: GroupScene) -> None:
    """A half message names two orders that can be cancelled, and one that is paid by now."""
    scene.pay_for(scene.create_all()[0])
    _half_message(scene, Cause.CANCEL)


def group_refunder_died(scene: GroupScene) -> None:
    """A half message names two orders that can be refunded, and one that is finished by now."""
    scene.pay_for(*scene.create_all())
    scene.shop.order.FinishOrder(pb.FinishOrderRequest(order_sn=scene.made[0].order_sn))
    _half_message(scene, Cause.REFUND)


def _timeout_comes(scene: GroupScene) -> None:
    named = [order.order_sn for order in scene.made]
    message = timeout_message(scene.made[0].expire_time.ToDatetime(UTC), *named, "nobody's")
    scene.with_broker(lambda broker: broker.publish(message))


def _half_message(scene: GroupScene, cause: Cause) -> None:
    half = reback_message(cause, SystemClock().now(), *(order.order_sn for order in scene.made))
    scene.with_broker(lambda broker: broker.in_transaction(half, lambda: Resolution.UNKNOWN))


# What has to come of it


def each_by_itself(scene: GroupScene) -> None:
    """The repeats of those that were sold or unclear give one order each; the refused one is refused again."""
    bought, greedy, unlucky = scene.repeats
    orders = [until_done(bought), until_done(unlucky)]
    assert [until_done(bought), until_done(unlucky)] == orders
    with pytest.raises(grpc.RpcError) as refusal:
        until_done(greedy)
    assert to_domain_error(refusal.value).reason == "NO_STOCK"
    told = {0: orders[0], 2: orders[1]}
    assert {place: told[place].order_sn for place in scene.answered} == {
        place: order.order_sn for place, order in scene.answered.items()
    }
    unpaid = scene.orders(pb.ORDER_STATE_UNPAID)
    assert sorted(each.order_sn for each in unpaid) == sorted(each.order_sn for each in orders)
    assert scene.available() == [STOCK - WANTED, STOCK, STOCK - WANTED]


def ended(*states: "pb.OrderState.ValueType") -> Callable[[Any], None]:
    """The orders end in these states, the closed ones closed once and their stock back; the repeats say the same."""

    def check(scene: GroupScene) -> None:
        wait_until(lambda: [scene.shop.get(order).state for order in scene.made] == list(states), "the orders end")
        closed = pb.ORDER_STATE_CLOSED
        left = [STOCK if state == closed else STOCK - WANTED for state in states]
        wait_until(lambda: scene.available() == left, "the stock of the closed ones is back, and no other")
        for order, state in zip(scene.made, states, strict=True):
            assert scene.shop.steps(order.order_sn).count("CLOSED") == (state == closed)
        assert all(until_done(repeat).state == closed for repeat in scene.repeats)

    return check


_CLOSED, _PAID, _UNPAID, _FINISHED = (
    pb.ORDER_STATE_CLOSED,
    pb.ORDER_STATE_PAID,
    pb.ORDER_STATE_UNPAID,
    pb.ORDER_STATE_FINISHED,
)
_CREATING: Final = "CREATING CREATING CREATING"
_CREATED: Final = "FAILED FAILED UNPAID"
_EARLY: Final = {"pay_within": 20}

_cancelled, _refunded = ended(_CLOSED, _CLOSED, _UNPAID), ended(_CLOSED, _CLOSED, _CLOSED)
_first_is_paid, _first_is_finished = ended(_PAID, _CLOSED, _CLOSED), ended(_FINISHED, _CLOSED, _CLOSED)
_first_is_closed = ended(_CLOSED, _UNPAID, _UNPAID)

GROUP_SCENARIOS: Final = [
    Scenario(CrashPoint.CREATE_INSERTED, group_creating, _CREATING, each_by_itself),
    Scenario(CrashPoint.CREATE_HALF_NOT_SENT, group_creating_without_broker, _CREATING, each_by_itself, BUSY),
    Scenario(CrashPoint.CREATE_HALF_SENT, group_creating, _CREATING, each_by_itself),
    Scenario(CrashPoint.CREATE_TIMEOUT_BEGUN, group_creating, _CREATING, each_by_itself),
    Scenario(CrashPoint.CREATE_SOLD, group_creating, _CREATING, each_by_itself),
    Scenario(CrashPoint.CREATE_REFUSED, group_creating, _CREATING, each_by_itself),
    Scenario(CrashPoint.CREATE_UNCLEAR, group_creating, _CREATING, each_by_itself),
    Scenario(CrashPoint.CREATE_TIMEOUT_NOT_SENT, group_creating_without_timeout, _CREATING, each_by_itself, BUSY),
    Scenario(CrashPoint.CREATE_TIMEOUT_SENT, group_creating, _CREATING, each_by_itself),
    Scenario(CrashPoint.CREATE_MOVED, group_creating, _CREATED, each_by_itself),
    Scenario(CrashPoint.CREATE_ANSWERED, group_creating, _CREATED, each_by_itself),
    Scenario(CrashPoint.CLOSE_HALF_SENT, group_cancelling, "UNPAID UNPAID UNPAID", _cancelled),
    Scenario(CrashPoint.CLOSE_HALF_SENT, group_timing_out, "PAID UNPAID UNPAID", _first_is_paid),
    Scenario(CrashPoint.CLOSE_MOVED, group_cancelling, "CLOSED CLOSED UNPAID", _cancelled),
    Scenario(CrashPoint.CLOSE_MOVED, group_timing_out, "CLOSED CLOSED PAID", _first_is_paid),
    Scenario(CrashPoint.CLOSE_ANSWERED, group_cancelling, "CLOSED CLOSED UNPAID", _cancelled),
    Scenario(CrashPoint.CLOSE_ANSWERED, group_timing_out, "CLOSED CLOSED PAID", _first_is_paid),
    Scenario(CrashPoint.REFUND_HALF_SENT, group_refunding, "PAID PAID PAID", _refunded),
    Scenario(CrashPoint.REFUND_MOVED, group_refunding, "CLOSED CLOSED CLOSED", _refunded),
    Scenario(CrashPoint.REFUND_ANSWERED, group_refunding, "CLOSED CLOSED CLOSED", _refunded),
    Scenario(CrashPoint.TIMEOUT_PUT_OFF, group_timeout_comes_early, "CLOSED UNPAID UNPAID", _first_is_closed),
    Scenario(CrashPoint.CHECK_BACK_MOVED, group_canceller_died, "CLOSED CLOSED PAID", _first_is_paid),
    Scenario(CrashPoint.CHECK_BACK_MOVED, group_refunder_died, "CLOSED CLOSED FINISHED", _first_is_finished),
    Scenario(CrashPoint.SWEEP_CLOSED, group_timeouts_are_lost, "CLOSED CLOSED PAID", _first_is_paid, SWEEPS),
    Scenario(CrashPoint.SWEEP_REBACKED, group_timeouts_are_lost, "CLOSED CLOSED PAID", _first_is_paid, SWEEPS),
    Scenario(
        CrashPoint.SWEEP_UNCLEAR, group_timeouts_and_answers_are_lost, "CLOSED CLOSED PAID", _first_is_paid, SWEEPS
    ),
]

ALONE: Final = frozenset({CrashPoint.PAY_BEFORE_COMMIT, CrashPoint.PAY_COMMITTED})
"""The points that only an order alone passes."""
