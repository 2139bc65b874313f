"""What several callers, or messages that name several orders, do at the same moment; and one of them that gives up."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from common.batching import Call, copy_of
from common.database import to_micros
from common.errors import DomainError
from order_srv.domain.messages import ORDER_TIMEOUT, NamedOrder, Timeout
from order_srv.domain.new_order import NewOrder, fits
from order_srv.domain.order import Order
from order_srv.domain.order_state import Cause, State
from order_srv.use_cases.create_group import HasEarlierOrder, NotWritten
from tests.component.order_life.actions import Create, choose
from tests.component.order_life.faults import NO_FAULTS, Faults, Poisoned

if TYPE_CHECKING:
    from tests.component.order_life.world import World


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
            except (NotWritten, HasEarlierOrder):  # its caller sees what became of the request before
                create.run_alone(world, undisturbed=not self.faults)
        except DomainError as error:
            create.refused(world, error, undisturbed=not self.faults)
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
