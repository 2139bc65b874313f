"""How the order service is brought to each of its crash points with one order, what it leaves and what comes of it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, timedelta
from pathlib import Path
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
from tests.support.broker_file import BrokerLock
from tests.support.inventory_proxy import InventoryProxy
from tests.support.order_messages import reback_message, timeout_message
from tests.support.repeated_calls import until_done
from tests.support.services import Services, create_request, pay_request
from tests.support.tables import let_orders_be_due
from tests.support.worlds import world_of

STOCK: Final = 10
WANTED: Final = 3
BROKER: Final = "check_after=0.3&check_every=0.3&lease=1&retry_after=0.1"
_BUSY_BROKER: Final = f"{BROKER}&busy_timeout=0.3"


@dataclass
class Scene:
    """A shop whose order service dies soon, and what was asked of it.

    Attributes:
        order: The order at the centre of it, once it is known.
        repeat: The last call, made again.
    """

    shop: Services
    proxy: InventoryProxy
    broker_lock: BrokerLock
    folder: Path
    user: int
    sku: str
    order: pb.Order = field(default_factory=pb.Order)
    repeat: Callable[[], Any] = lambda: None

    def dies(self, call: Callable[[], Any]) -> None:
        """Make a call that the service does not live to answer."""
        self.repeat = call
        with pytest.raises(grpc.RpcError) as broken:
            call()
        assert broken.value.code() is grpc.StatusCode.UNAVAILABLE, broken.value

    def create(self, quantity: int = WANTED) -> Callable[[], pb.Order]:
        """A call that creates an order; made again it has the same request_id."""
        request = create_request(self.user, {self.sku: quantity})
        return lambda: self.shop.order.CreateOrder(request)

    def created(self) -> pb.Order:
        self.order = self.create()()
        return self.order

    def pay(self) -> Callable[[], pb.PayOrderResponse]:
        """A call that pays the order; made again it has the same payment_id."""
        request = pay_request(self.order)
        return lambda: self.shop.order.PayOrder(request)

    def cancel(self) -> Callable[[], pb.Order]:
        request = pb.CancelOrderRequest(user_id=self.user, order_sn=self.order.order_sn, reason="not mine")
        return lambda: self.shop.order.CancelOrder(request)

    def refund(self) -> Callable[[], pb.Order]:
        request = pb.RefundOrderRequest(order_sn=self.order.order_sn, reason="broken")
        return lambda: self.shop.order.RefundOrder(request)

    def orders(self, *states: "pb.OrderState.ValueType") -> list[pb.Order]:
        return [order for order in self.shop.orders_of(self.user) if order.state in states]

    def with_broker(self, act: Callable[[Any], object]) -> None:
        """Act as another process that uses the same broker."""
        broker = world_of(self.folder).open_broker(SystemClock(), BROKER)
        act(broker)
        broker.close()


# What has to come of it, once it is at rest and the caller repeated the call


def one_order(scene: Scene) -> None:
    """The repeat gives one live order, and a second repeat the same one."""
    order = until_done(scene.repeat)
    assert until_done(scene.repeat).order_sn == order.order_sn
    assert [each.order_sn for each in scene.orders(pb.ORDER_STATE_UNPAID)] == [order.order_sn]
    assert scene.shop.available(scene.sku) == STOCK - WANTED


def no_order(scene: Scene) -> None:
    """The repeat is refused as the first call would have been."""
    with pytest.raises(grpc.RpcError) as refusal:
        until_done(scene.repeat)
    assert to_domain_error(refusal.value).reason == "NO_STOCK"
    assert not scene.orders(pb.ORDER_STATE_UNPAID)
    assert scene.shop.available(scene.sku) == STOCK


def closed(cause: "pb.CloseCause.ValueType") -> Callable[[Scene], None]:
    """The order is closed once, its stock is back, and the repeat says so."""

    def check(scene: Scene) -> None:
        order = scene.shop.wait_for_state(scene.order, pb.ORDER_STATE_CLOSED)
        assert order.close_cause == cause
        scene.shop.wait_for_available(scene.sku, STOCK)
        repeated = until_done(scene.repeat)
        assert repeated is None or repeated.state == pb.ORDER_STATE_CLOSED

    return check


def refunded(scene: Scene) -> None:
    """The order is closed, its one payment is to be sent back, and the repeat says so."""
    closed(pb.CLOSE_CAUSE_REFUND)(scene)
    payments = scene.shop.get(scene.order).payments
    assert [payment.outcome for payment in payments] == [pb.PAYMENT_OUTCOME_REFUND_DUE]


def paid_once(scene: Scene) -> None:
    """The repeat gives the payment, applied, and there is no other."""
    assert until_done(scene.repeat).payment.outcome == pb.PAYMENT_OUTCOME_APPLIED
    order = scene.shop.get(scene.order)
    assert (order.state, len(order.payments)) == (pb.ORDER_STATE_PAID, 1)


# How it is brought there


def creating(scene: Scene) -> None:
    scene.dies(scene.create())


def refused(scene: Scene) -> None:
    scene.dies(scene.create(STOCK + 1))


def creating_without_broker(scene: Scene) -> None:
    scene.broker_lock.lock()
    scene.dies(scene.create())


def creating_without_timeout(scene: Scene) -> None:
    scene.broker_lock.refuse(ORDER_TIMEOUT)
    scene.dies(scene.create())


def creating_with_answer_lost(scene: Scene) -> None:
    scene.proxy.lose_answers("Sell", "BatchGetSales")
    scene.dies(scene.create())


def cancelling(scene: Scene) -> None:
    scene.created()
    scene.dies(scene.cancel())


def timing_out(scene: Scene) -> None:
    scene.created()


def refunding(scene: Scene) -> None:
    scene.created()
    scene.pay()()
    scene.dies(scene.refund())


def paying(scene: Scene) -> None:
    scene.created()
    scene.dies(scene.pay())


def timeout_comes_early(scene: Scene) -> None:
    order = scene.created()
    early = timeout_message(order.expire_time.ToDatetime(UTC), order.order_sn)
    scene.with_broker(lambda broker: broker.publish(early))


def timeout_is_lost(scene: Scene) -> None:
    scene.created()
    let_orders_be_due(scene.folder)  # their message comes in ten minutes


def timeout_and_answers_are_lost(scene: Scene) -> None:
    scene.proxy.lose_answers("Reback")
    timeout_is_lost(scene)


def canceller_died(scene: Scene) -> None:
    _half_message(scene, Cause.CANCEL, "not mine")
    scene.repeat = scene.cancel()


def refunder_died(scene: Scene) -> None:
    scene.order = scene.created()
    scene.pay()()
    _half_message(scene, Cause.REFUND, "broken")
    scene.repeat = scene.refund()


def _half_message(scene: Scene, cause: Cause, reason: str) -> None:
    order = scene.order if scene.order.order_sn else scene.created()
    half = reback_message(cause, SystemClock().now(), order.order_sn, reason=reason)
    scene.with_broker(lambda broker: broker.in_transaction(half, lambda: Resolution.UNKNOWN))


@dataclass(frozen=True)
class Scenario:
    """One way to a crash point.

    Attributes:
        act: What is asked of the service; it is killed on the way, or soon after.
        leaves: The states of the orders when it has died, in alphabetical order.
        check: What has to come of it, after all is at rest.
        settings: Of the service that dies.
    """

    point: CrashPoint
    act: Callable[[Any], None]
    leaves: str
    check: Callable[[Any], None]
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def locks_broker(self) -> bool:
        """Whether the broker is kept from writing, which only one in a file can be."""
        return "broker" in self.settings

    def __str__(self) -> str:
        return f"{self.point}-{self.act.__name__}"


_SOON: Final = {"pay_within": timedelta(seconds=2)}
SWEEPS: Final = {"sweep_every": 0.1, "sweep_grace": 0}
BUSY: Final = {"broker": _BUSY_BROKER}

_cancelled = closed(pb.CLOSE_CAUSE_CANCEL)
_timed_out = closed(pb.CLOSE_CAUSE_TIMEOUT)

SCENARIOS: Final = [
    Scenario(CrashPoint.CREATE_INSERTED, creating, "CREATING", one_order),
    Scenario(CrashPoint.CREATE_HALF_NOT_SENT, creating_without_broker, "CREATING", one_order, BUSY),
    Scenario(CrashPoint.CREATE_HALF_SENT, creating, "CREATING", one_order),
    Scenario(CrashPoint.CREATE_TIMEOUT_BEGUN, creating, "CREATING", one_order),
    Scenario(CrashPoint.CREATE_SOLD, creating, "CREATING", one_order),
    Scenario(CrashPoint.CREATE_REFUSED, refused, "CREATING", no_order),
    Scenario(CrashPoint.CREATE_UNCLEAR, creating_with_answer_lost, "CREATING", one_order),
    Scenario(CrashPoint.CREATE_TIMEOUT_NOT_SENT, creating_without_timeout, "CREATING", one_order, BUSY),
    Scenario(CrashPoint.CREATE_TIMEOUT_SENT, creating, "CREATING", one_order),
    Scenario(CrashPoint.CREATE_MOVED, creating, "UNPAID", one_order),
    Scenario(CrashPoint.CREATE_MOVED, refused, "FAILED", no_order),
    Scenario(CrashPoint.CREATE_MOVED, creating_with_answer_lost, "FAILED", one_order),
    Scenario(CrashPoint.CREATE_ANSWERED, creating, "UNPAID", one_order),
    Scenario(CrashPoint.CLOSE_HALF_SENT, cancelling, "UNPAID", _cancelled),
    Scenario(CrashPoint.CLOSE_HALF_SENT, timing_out, "UNPAID", _timed_out, _SOON),
    Scenario(CrashPoint.CLOSE_MOVED, cancelling, "CLOSED", _cancelled),
    Scenario(CrashPoint.CLOSE_MOVED, timing_out, "CLOSED", _timed_out, _SOON),
    Scenario(CrashPoint.CLOSE_ANSWERED, cancelling, "CLOSED", _cancelled),
    Scenario(CrashPoint.CLOSE_ANSWERED, timing_out, "CLOSED", _timed_out, _SOON),
    Scenario(CrashPoint.REFUND_HALF_SENT, refunding, "PAID", refunded),
    Scenario(CrashPoint.REFUND_MOVED, refunding, "CLOSED", refunded),
    Scenario(CrashPoint.REFUND_ANSWERED, refunding, "CLOSED", refunded),
    Scenario(CrashPoint.PAY_BEFORE_COMMIT, paying, "UNPAID", paid_once),
    Scenario(CrashPoint.PAY_COMMITTED, paying, "PAID", paid_once),
    Scenario(CrashPoint.TIMEOUT_PUT_OFF, timeout_comes_early, "UNPAID", _timed_out, {"pay_within": 6}),
    Scenario(CrashPoint.CHECK_BACK_MOVED, canceller_died, "CLOSED", _cancelled),
    Scenario(CrashPoint.CHECK_BACK_MOVED, refunder_died, "CLOSED", refunded),
    Scenario(CrashPoint.SWEEP_CLOSED, timeout_is_lost, "CLOSED", _timed_out, SWEEPS),
    Scenario(CrashPoint.SWEEP_REBACKED, timeout_is_lost, "CLOSED", _timed_out, SWEEPS),
    Scenario(CrashPoint.SWEEP_UNCLEAR, timeout_and_answers_are_lost, "CLOSED", _timed_out, SWEEPS),
]
