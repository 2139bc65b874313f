"""A group whose members differ: what is wrong with one of them leaves the others alone."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import pytest

from common.messaging.port import Resolution
from order_srv.crash_points import CrashPoint
from order_srv.domain.order_state import Cause, State
from tests.component.order_life.actions import (
    Ask,
    Cancel,
    CountStock,
    Create,
    Extend,
    Finish,
    LetTimePass,
    Pay,
    PutInCart,
    Sweep,
)
from tests.component.order_life.environment import Ground
from tests.component.order_life.faults import NO_FAULTS, Action, Call, Commit, Faults, Poison
from tests.component.order_life.together import CloseTogether, CreateTogether, HangUp
from tests.component.order_life.world import THE_SAME, World

ONE, OTHER = Create(1, 1, (("tea", 1),)), Create(2, 1, (("tea", 2), ("cup", 1)))
"""What stands around the member that differs."""

USUAL: Final = Create(1, 2, (("cup", 2),))
TOO_MANY: Final = Create(1, 2, (("cup", 9),))
NO_SUCH_SKU: Final = Create(1, 2, (("jam", 1),))
OF_CART: Final = Create(1, 2, ())

UNPAID, FAILED, CREATING = State.UNPAID, State.FAILED, State.CREATING


def at(point: CrashPoint, *actions: Action) -> Faults:
    return Faults(meanwhile=tuple((point, action) for action in actions))


@dataclass(frozen=True)
class Case:
    """A member that differs.

    Attributes:
        state: What becomes of its order; None: it is not written.
        answer: What its caller is told, as the world counts it.
        others: What becomes of the orders around it.
    """

    differs: Create
    faults: Faults
    state: State | None
    answer: str
    others: State = UNPAID
    cart: dict[tuple[int, str], int] = field(default_factory=lambda: {(1, "cup"): 3, (2, "tea"): 2})


UNTOLD: Final = "CreateTogether: "
BOUGHT: Final = {(2, "tea"): 2}
CASES: Final = {
    "as the others": Case(USUAL, NO_FAULTS, UNPAID, "CreateTogether"),
    "refused": Case(TOO_MANY, NO_FAULTS, FAILED, UNTOLD + "NO_STOCK"),
    "refused before it is written": Case(NO_SUCH_SKU, NO_FAULTS, None, UNTOLD + "GOODS_UNAVAILABLE"),
    "bought by the cart": Case(OF_CART, NO_FAULTS, UNPAID, "CreateTogether", cart=BOUGHT),
    "its cart changed": Case(
        OF_CART,
        at(CrashPoint.CREATE_SOLD, PutInCart(1, "cup", 4)),
        UNPAID,
        "CreateTogether",
        cart={(1, "cup"): 4, (2, "tea"): 2},
    ),
    "unclear": Case(USUAL, Faults(calls=(Call.ONE_LATE, Call.LATE)), FAILED, UNTOLD + "ORDER_FAILED"),
    "left out, and found": Case(USUAL, Faults(calls=(Call.ONE_LEFT_OUT,)), UNPAID, "CreateTogether"),
    "left out, not found": Case(USUAL, Faults(calls=(Call.ONE_LEFT_OUT, Call.LATE)), FAILED, UNTOLD + "ORDER_FAILED"),
    "answered twice": Case(USUAL, Faults(calls=(Call.ONE_DOUBLED, Call.LATE)), FAILED, UNTOLD + "ORDER_FAILED"),
    "paid meanwhile": Case(USUAL, at(CrashPoint.CREATE_MOVED, Pay(0, 1)), State.PAID, "CreateTogether"),
    "cancelled meanwhile": Case(USUAL, at(CrashPoint.CREATE_MOVED, Cancel(0)), State.CLOSED, "CreateTogether"),
    "its caller is gone": Case(USUAL, at(CrashPoint.CREATE_TIMEOUT_BEGUN, HangUp(0)), FAILED, UNTOLD + "ORDER_FAILED"),
    "can't be inserted": Case(USUAL, Faults(poison=Poison("INSERT INTO orders", 0)), None, "poisoned"),
    "can't be moved": Case(USUAL, Faults(poison=Poison("UPDATE orders", 0)), CREATING, UNTOLD + "OUTCOME_UNKNOWN"),
}


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    return Ground(tmp_path_factory.mktemp("ground"))


@pytest.fixture
def world(ground: Ground) -> Iterator[World]:
    made = World(ground)
    for sku in ("tea", "cup"):
        made.run(CountStock(sku, 6))
    yield made
    made.close()


def errors_of(world: World) -> dict[str, int]:
    """How often callers were told of which error."""
    return {what: times for what, times in world.happened.items() if what == "poisoned" or what.startswith(UNTOLD)}


@pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
def test_one_member_differs_and_the_others_are_created(world: World, case: Case) -> None:
    world.run(PutInCart(1, "cup", 3))
    world.run(PutInCart(2, "tea", 2))

    world.run(CreateTogether((case.differs, ONE, OTHER), faults=case.faults))

    books = world.check()
    states = [order.state for order in books.orders.values()]
    assert states == [UNPAID] * 2 if case.state is None else [case.state, UNPAID, UNPAID]
    assert errors_of(world) == ({case.answer: 1} if case.answer != "CreateTogether" else {})
    assert books.carts == case.cart
    assert world.happened["groups of 3"] == 1
    world.come_to_rest()
    world.check_at_rest()


CLOSES: Final = {
    "cancels, one is paid": (Cause.CANCEL, at(CrashPoint.CLOSE_HALF_SENT, Pay(THE_SAME, 1)), State.PAID),
    "timeouts, one is paid": (Cause.TIMEOUT, at(CrashPoint.CLOSE_HALF_SENT, Pay(THE_SAME, 1)), State.PAID),
    "timeouts, one has more time": (
        Cause.TIMEOUT,
        at(CrashPoint.CLOSE_HALF_SENT, Extend(THE_SAME, 3600)),
        State.UNPAID,
    ),
    "refunds, one is finished": (Cause.REFUND, at(CrashPoint.REFUND_HALF_SENT, Finish(THE_SAME)), State.FINISHED),
    "cancels, the last COMMIT is lost": (Cause.CANCEL, Faults(commits=(Commit.LOST_AFTER,)), State.CLOSED),
}


@pytest.mark.parametrize(("cause", "faults", "state"), CLOSES.values(), ids=list(CLOSES))
def test_one_member_differs_and_the_others_are_closed(world: World, cause: Cause, faults: Faults, state: State) -> None:
    world.run(CreateTogether((USUAL, ONE, OTHER)))
    if cause is Cause.REFUND:
        for _ in range(3):
            world.run(Pay(0, 1))
    world.run(LetTimePass(1800))

    world.run(CloseTogether(cause, ((0,), (1,), (2,)), faults=faults))

    assert [order.state for order in world.check().orders.values()] == [State.CLOSED, State.CLOSED, state]
    half, living = world.engine.halves[-1], state is not State.CLOSED
    assert half.said == [Resolution.UNKNOWN if living else Resolution.COMMIT]
    assert world.happened["the sweeper was woken"] == living
    world.run(Sweep())  # and no time passes
    world.run(Ask(-1))
    assert half.said[1:] == [Resolution.ROLLBACK if living else Resolution.COMMIT]
    back = {"tea": (4, 2), "cup": (5, 1)}
    with_the_message = {"tea": (3, 3), "cup": (3, 3)}
    assert world.check().stocks == (back if living else with_the_message)
    world.come_to_rest()
    world.check_at_rest()


SWEPT: Final = {"UNPAID": (NO_FAULTS, UNPAID), "CREATING": (Faults(crash_at=CrashPoint.CREATE_SOLD), CREATING)}


@pytest.mark.parametrize(("created", "state"), SWEPT.values(), ids=list(SWEPT))
@pytest.mark.parametrize("bad", range(3))
def test_an_order_that_can_not_be_moved_keeps_the_sweeper_from_no_other(
    world: World, created: Faults, state: State, bad: int
) -> None:
    world.run(CreateTogether((USUAL, ONE, OTHER), faults=created))
    world.run(LetTimePass(3600))

    world.run(Sweep(faults=Faults(poison=Poison("UPDATE orders", bad))))

    orders = list(world.check().orders.values())
    dead = State.CLOSED if state is UNPAID else FAILED
    assert [order.state for order in orders] == [state if n == bad else dead for n in range(3)]
    assert [order.return_due is None for order in orders] == [True] * 3, "and their stock is back"
    world.come_to_rest()
    world.check_at_rest()
