"""What callers, the broker, operators and the clock do. Numbers choose among what there is, round and round."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, TypeVar

from common.batching import Call, copy_of
from common.database import to_micros
from common.errors import DomainError
from common.messaging.port import Resolution
from inventory_srv.domain.changes import AdjustStock, SetStock
from order_srv.domain.messages import ORDER_TIMEOUT, NamedOrder, Reback, Timeout
from order_srv.domain.order import Order, Recipient
from order_srv.domain.order_request import OrderRequest
from order_srv.domain.order_state import Cause, CloseCause, State
from order_srv.domain.payment import Outcome, PaymentNotice, RefundReason
from order_srv.use_cases.create_group import NewOrder, NotWritten, RequestTaken, fits
from tests.component.order_life.environment import CREATING_GRACE
from tests.component.order_life.faults import NO_FAULTS, Action, Faults, Poisoned
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
        self.run_alone(world)

    def run_alone(self, world: "World") -> None:
        try:
            order = world.create_order.execute(self.wanted(), world.deadline(self.user, self.request_id))
        except DomainError as error:
            world.model.refused_create(self.user, self.request_id, self.lines, error, world.books())
            raise
        world.model.answered_create(self.user, self.request_id, order)


@dataclass(frozen=True)
class CreateTogether:
    """CreateOrder of several callers at the same moment."""

    creates: tuple[Create, ...]
    faults: Faults = field(default=NO_FAULTS, kw_only=True)

    def run(self, world: "World") -> None:
        world.about_to_create()
        waiting = {world.call(each.wanted()): each for each in self.creates}
        while waiting:
            group: dict[Call[NewOrder, Order], Create] = {}
            for call, create in waiting.items():
                if fits([taken.item for taken in group], call.item):
                    group[call] = create
            waiting = {call: create for call, create in waiting.items() if call not in group}
            try:
                _carry_out(world, list(group))
            finally:  # some may have been answered before a crash
                for call, create in group.items():
                    if call.settled:
                        self._answered(world, create, call)

    def _answered(self, world: "World", create: Create, call: Call[NewOrder, Order]) -> None:
        try:
            try:
                world.model.answered_create(create.user, create.request_id, call.result())
            except (NotWritten, RequestTaken):  # its caller sees what became of the request before
                create.run_alone(world)
        except DomainError as error:
            if not self.faults:
                world.model.refused_create(create.user, create.request_id, create.lines, error, world.books())
            world.answered_error(self, error)
        except Poisoned:
            world.happened["poisoned"] += 1


def _carry_out(world: "World", group: Sequence[Call[NewOrder, Order]]) -> None:
    """As `Groups` does."""
    world.happened[f"groups of {len(group)}"] += 1
    try:
        world.create_group.execute(group)
    except (DomainError, Poisoned) as error:
        for call in group:
            if not call.settled:
                call.fail(copy_of(error))
    assert all(call.settled for call in group), "a caller waits for ever"


@dataclass(frozen=True)
class HangUp:
    """A caller whose order is being created no longer waits for it."""

    caller: int
    faults: Faults = field(default=NO_FAULTS, kw_only=True)

    def run(self, world: "World") -> None:
        deadline = choose(world.callers, self.caller)
        if deadline is not None:
            deadline.cancel()


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
class CloseTogether:
    """Cancels or refunds of several callers, or several timeout messages, at the same moment."""

    cause: Cause
    wanted: tuple[tuple[int, ...], ...]
    faults: Faults = field(default=NO_FAULTS, kw_only=True)

    def run(self, world: "World") -> None:
        likely = State.PAID if self.cause is Cause.REFUND else State.UNPAID
        wanted = [[NamedOrder(each.order_sn, "no more") for each in world.orders(some, likely)] for some in self.wanted]
        before = world.books().orders
        # Whoever asks has looked: an order that is CREATING now was never anything else.
        closes = [[name for name in some if before[name.order_sn].state is not State.CREATING] for some in wanted]
        closes = [some for some in closes if some]
        if not closes:
            return
        now = to_micros(world.clock.now())
        answers = world.close_order._close(self.cause, closes)
        if self.faults:
            return
        after = world.books().orders
        for some, statuses in zip(closes, answers, strict=True):
            assert list(statuses) == [name.order_sn for name in some]
            for order_sn, status in statuses.items():
                assert status.state is after[order_sn].state, (
                    f"{order_sn} is {after[order_sn].state}, {status} was said"
                )
                due = self.cause is not Cause.TIMEOUT or before[order_sn].expire_time <= now
                closed = before[order_sn].state is likely and due
                assert (status.state is State.CLOSED) >= closed, f"{order_sn} was to be closed by {self.cause}"


@dataclass(frozen=True)
class TimeOut:
    """A timeout message that names several orders, whenever they were created."""

    orders: tuple[int, ...]
    faults: Faults = field(default=NO_FAULTS, kw_only=True)

    def run(self, world: "World") -> None:
        named = world.orders(self.orders, State.UNPAID)
        if not named:
            return
        now = world.clock.now()
        names = tuple(NamedOrder(order.order_sn) for order in named)
        parcels = len(world.engine.parcels)
        world.close_order.time_out(Timeout(now, names))
        if self.faults:
            return
        after = world.books().orders
        alive = {name.order_sn for name in names if after[name.order_sn].state in {State.CREATING, State.UNPAID}}
        for order_sn in alive:
            order = after[order_sn]
            assert order.state is State.CREATING or order.expire_time > to_micros(now), f"{order_sn} is due, and UNPAID"
        again = [
            Timeout.from_message(parcel.message)
            for parcel in world.engine.parcels[parcels:]
            if parcel.topic == ORDER_TIMEOUT
        ]
        assert {name.order_sn for timeout in again for name in timeout.orders} >= alive, "a timeout is lost"


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
