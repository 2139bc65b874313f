"""What callers, the broker, operators and the clock do. Numbers choose among what there is, round and round."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from common.database import to_micros
from common.errors import DomainError
from common.messaging.port import Resolution
from inventory_srv.domain.changes import AdjustStock, SetStock
from order_srv.domain.messages import Reback
from order_srv.domain.order import Recipient
from order_srv.domain.order_request import OrderRequest
from order_srv.domain.order_state import CloseCause, State
from order_srv.domain.payment import Outcome, PaymentNotice, RefundReason
from tests.component.order_life.environment import CREATING_GRACE
from tests.component.order_life.faults import NO_FAULTS, Action, Faults
from tests.component.order_life.model import LIVE
from tests.support.scripted_broker import Half, Parcel

if TYPE_CHECKING:
    from tests.component.order_life.world import World

T = TypeVar("T")

_WHO: Final = Recipient("Ada", "+44 1", "1 Byron Street")
_PAID_TIME: Final = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Create:
    """CreateOrder; without lines, of the cart."""

    user: int
    request: int
    lines: tuple[tuple[str, int], ...]
    faults: Faults = field(default=NO_FAULTS, kw_only=True)

    @property
    def request_id(self) -> str:
        return f"request-{self.request}"

    def wanted(self) -> OrderRequest:
        return OrderRequest(self.user, self.request_id, self.lines, _WHO, note=self.request_id)

    def run(self, world: "World") -> None:
        world.about_to_create()
        self.run_alone(world, undisturbed=not self.faults)

    def run_alone(self, world: "World", *, undisturbed: bool) -> None:
        try:
            order = world.create_order.execute(self.wanted(), world.deadline(self.user, self.request_id))
        except DomainError as error:
            self.refused(world, error, undisturbed=undisturbed)
            raise
        world.model.answered_create(self.user, self.request_id, order)

    def refused(self, world: "World", error: DomainError, *, undisturbed: bool) -> None:
        """It was answered by this error; undisturbed: nothing went wrong, and nobody did anything meanwhile."""
        books = world.books()
        if error.reason == "DIFFERENT_CONTENT":
            world.model.refused_as_repeated(self.user, self.request_id, books)
        if error.reason == "NO_STOCK" and self.lines and undisturbed:
            world.model.refused_for_stock(self.lines, books)


@dataclass(frozen=True)
class Pay:
    """PayOrder with the order's total, and perhaps some cents more or less; payment 0 is the same for all orders."""

    order: int
    payment: int
    cents_more: int = 0
    faults: Faults = field(default=NO_FAULTS, kw_only=True)

    def run(self, world: "World") -> None:
        order = world.order(self.order, State.UNPAID)
        if order is None:
            return
        payment_id = f"payment-{self.payment}" + (f"-of-{order.order_sn}" if self.payment else "")
        amount = order.total_cents + self.cents_more
        received = PaymentNotice(payment_id, order.order_sn, amount, order.currency, "card", _PAID_TIME)
        world.model.asked_to_pay(payment_id, order.order_sn, amount)
        answer, payment = world.pay_order.pay(received)
        world.model.took_payment(payment)
        if payment.outcome is Outcome.APPLIED:
            refunded = answer.close_cause is CloseCause.REFUND
            assert refunded or answer.state in {State.PAID, State.FINISHED}, f"{payment} applied, {answer.state} told"


@dataclass(frozen=True)
class Cancel:
    order: int
    faults: Faults = field(default=NO_FAULTS, kw_only=True)

    def run(self, world: "World") -> None:
        order = world.order(self.order, State.UNPAID)
        if order is None:
            return
        answer = world.close_order.cancel(order.user_id, order.order_sn, "no more")
        assert answer.state in {State.CLOSED, State.FAILED}, f"cancelled, and {answer.state}"
        assert world.books().orders[order.order_sn].state is answer.state


@dataclass(frozen=True)
class Refund:
    order: int
    faults: Faults = field(default=NO_FAULTS, kw_only=True)

    def run(self, world: "World") -> None:
        order = world.order(self.order, State.PAID)
        if order is None:
            return
        answer = world.close_order.refund(order.order_sn, "broken")
        assert (answer.state, answer.close_cause) == (State.CLOSED, CloseCause.REFUND)
        reasons = [payment.refund_reason for payment in answer.payments]
        assert reasons.count(RefundReason.ORDER_REFUNDED) == 1, f"refunded: {answer.payments}"


@dataclass(frozen=True)
class Extend:
    """An operator gives an order more time to be paid, or less."""

    order: int
    seconds: int
    faults: Faults = field(default=NO_FAULTS, kw_only=True)

    def run(self, world: "World") -> None:
        order = world.order(self.order, State.UNPAID)
        if order is not None:
            world.extend(order.order_sn, timedelta(seconds=self.seconds))


@dataclass(frozen=True)
class Finish:
    order: int
    faults: Faults = field(default=NO_FAULTS, kw_only=True)

    def run(self, world: "World") -> None:
        order = world.order(self.order, State.PAID)
        if order is None:
            return
        answer = world.finish_order.execute(order.order_sn)
        assert answer.state is State.FINISHED
        assert world.books().orders[order.order_sn].state is State.FINISHED


@dataclass(frozen=True)
class MarkRefunded:
    payment: int
    refund: int
    faults: Faults = field(default=NO_FAULTS, kw_only=True)

    def run(self, world: "World") -> None:
        payments = sorted(world.books().payments.values(), key=lambda each: each.outcome is not Outcome.REFUND_DUE)
        payment = choose(payments, self.payment)
        if payment is None:
            return
        answer = world.pay_order.mark_refunded(payment.payment_id, f"refund-{self.refund}")
        assert answer.outcome is Outcome.REFUNDED


@dataclass(frozen=True)
class PutInCart:
    user: int
    sku: str
    quantity: int
    faults: Faults = field(default=NO_FAULTS, kw_only=True)

    def run(self, world: "World") -> None:
        world.cart.put(self.user, self.sku, self.quantity, selected=True)
        world.model.put_in_cart(self.user, self.sku, self.quantity)


@dataclass(frozen=True)
class LetTimePass:
    seconds: int
    faults: Faults = field(default=NO_FAULTS, kw_only=True)

    def run(self, world: "World") -> None:
        world.clock.advance(timedelta(seconds=self.seconds))


@dataclass(frozen=True)
class Later:
    """Time passes, then something happens: for a call that waits meanwhile, as if its process had been stopped."""

    seconds: int
    action: Action
    faults: Faults = field(default=NO_FAULTS, kw_only=True)

    def run(self, world: "World") -> None:
        world.clock.advance(timedelta(seconds=self.seconds))
        world.run(self.action)


@dataclass(frozen=True)
class Sweep:
    faults: Faults = field(default=NO_FAULTS, kw_only=True)

    def run(self, world: "World") -> None:
        for order_sn in world.books().orders:
            world.weather.is_about(order_sn)
        world.sweeper.sweep()


@dataclass(frozen=True)
class Deliver:
    """The broker delivers a message, out of turn, perhaps early; it comes again when its acknowledgement is lost."""

    message: int
    acknowledged: bool = True
    faults: Faults = field(default=NO_FAULTS, kw_only=True)

    def run(self, world: "World") -> None:
        parcel = choose(world.engine.parcels, self.message)
        if parcel is None:
            return
        error = world.engine.deliver(parcel, acknowledged=self.acknowledged)
        if isinstance(error, DomainError):
            raise error
        assert error is None, f"{parcel.message} can't be handled: {error!r}"


@dataclass(frozen=True)
class Lose:
    """The broker loses a message for good, or asks no more about a half message."""

    message: int
    faults: Faults = field(default=NO_FAULTS, kw_only=True)

    def run(self, world: "World") -> None:
        messages: list[Parcel | Half] = [*world.engine.parcels, *world.engine.open_halves()]
        lost = choose(messages, self.message)
        if isinstance(lost, Half):
            lost.open = False
        elif lost is not None:
            world.engine.lose(lost)


@dataclass(frozen=True)
class Ask:
    """The broker asks what became of a half message, resolved or not."""

    half: int
    faults: Faults = field(default=NO_FAULTS, kw_only=True)

    def run(self, world: "World") -> None:
        half = choose(world.engine.halves, self.half)
        if half is None:
            return
        answer = world.engine.ask(half)
        if answer is Resolution.UNKNOWN and not self.faults:
            orders = world.books().orders
            named = [orders[each.order_sn] for each in Reback.from_message(half.message).orders]
            old = to_micros(world.clock.now() - CREATING_GRACE)
            creating = any(order.state is State.CREATING and order.create_time >= old for order in named)
            owed = any(order.return_due is not None for order in named)
            owed_beside_living = owed and any(order.state in LIVE for order in named)
            assert creating or owed_beside_living, f"the broker was told nothing of {named}"


@dataclass(frozen=True)
class ArriveLate:
    """A call whose caller waits no longer arrives at inventory."""

    call: int
    faults: Faults = field(default=NO_FAULTS, kw_only=True)

    def run(self, world: "World") -> None:
        late = world.inventory.late
        if late:
            world.inventory.carry_out(late.pop(self.call % len(late)))


@dataclass(frozen=True)
class CountStock:
    """SetStock."""

    sku: str
    quantity: int
    faults: Faults = field(default=NO_FAULTS, kw_only=True)

    def run(self, world: "World") -> None:
        stock = world.inventory.carry_out(SetStock(world.new_request_id(), self.sku, self.quantity, "counted"))
        assert stock.available == self.quantity
        world.model.units_are(self.sku, stock.available + stock.sold)


@dataclass(frozen=True)
class ChangeStock:
    """AdjustStock."""

    sku: str
    delta: int
    faults: Faults = field(default=NO_FAULTS, kw_only=True)

    def run(self, world: "World") -> None:
        world.inventory.carry_out(AdjustStock(world.new_request_id(), self.sku, self.delta, "found or broken"))
        world.model.units_changed(self.sku, self.delta)


def choose(among: Sequence[T], number: int) -> T | None:
    """The one that the number points at; None: there is none."""
    return among[number % len(among)] if among else None
