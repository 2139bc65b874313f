"""The order service is killed at each point of its way, in groups whose members differ: nothing oversells or leaks.

What `test_order_life.py` finds by chance is tried here one by one: every crash point, in a group of one and of several.
"""

import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

import pytest
import structlog

from common.messaging.port import Resolution
from order_srv.crash_points import CrashPoint
from order_srv.domain.order_state import Cause, State
from tests.component.order_life.actions import (
    Ask,
    Cancel,
    CountStock,
    Create,
    Deliver,
    LetTimePass,
    Pay,
    Refund,
    Sweep,
)
from tests.component.order_life.environment import Ground
from tests.component.order_life.faults import NO_FAULTS, Action, Call, Faults
from tests.component.order_life.together import CloseTogether, CreateTogether, TimeOut
from tests.component.order_life.world import World
from tests.support.scripted_broker import Send

TEA, CUP = (("tea", 1),), (("cup", 1),)
ONE: Final = (Create(1, 1, TEA),)
SEVERAL: Final = (*ONE, Create(2, 1, TEA), Create(1, 2, (("cup", 9),)), Create(2, 2, CUP))
"""The third asks for too much."""

LATE: Final = Faults(calls=(Call.LATE, Call.LATE))
ONE_LATE: Final = Faults(calls=(Call.ONE_LATE, Call.LATE))
HALF_REFUSED: Final = Faults(sends=(Send.REFUSED,))
TIMEOUT_REFUSED: Final = Faults(sends=(Send.TAKEN, Send.REFUSED))

Case = tuple[str, tuple[Action, ...], Action]
"""Where the service is killed, what came before, and in which action."""


def creates(orders: tuple[Create, ...], faults: Faults, *points: CrashPoint) -> list[Case]:
    return [(point, (), CreateTogether(orders, faults=faults)) for point in points]


SOLD: Final = (CrashPoint.CREATE_SOLD, CrashPoint.CREATE_TIMEOUT_SENT)
ON_THE_WAY: Final = (
    CrashPoint.CREATE_INSERTED,
    CrashPoint.CREATE_HALF_SENT,
    CrashPoint.CREATE_TIMEOUT_BEGUN,
    CrashPoint.CREATE_MOVED,
    CrashPoint.CREATE_ANSWERED,
)
CREATES: Final = [
    case
    for orders in (ONE, SEVERAL)
    for case in (
        *creates(orders, NO_FAULTS, *ON_THE_WAY, *SOLD),
        *creates(orders, LATE, *ON_THE_WAY, CrashPoint.CREATE_UNCLEAR),
        *creates(orders, HALF_REFUSED, CrashPoint.CREATE_HALF_NOT_SENT),
        *creates(orders, TIMEOUT_REFUSED, CrashPoint.CREATE_TIMEOUT_NOT_SENT),
    )
]
OF_SEVERAL: Final = [
    *creates(SEVERAL, NO_FAULTS, CrashPoint.CREATE_REFUSED),
    *creates(SEVERAL, ONE_LATE, *ON_THE_WAY, *SOLD, CrashPoint.CREATE_REFUSED, CrashPoint.CREATE_UNCLEAR),
]

CREATED: Final = CreateTogether(SEVERAL)
ALIVE_AND_OWING: Final = CreateTogether(SEVERAL, faults=ONE_LATE)
KILLED: Final = CreateTogether(SEVERAL, faults=Faults(crash_at=CrashPoint.CREATE_SOLD))
CLOSED: Final[list[tuple[tuple[Action, ...], Action]]] = [
    ((CREATED,), Cancel(0)),
    ((CREATED, Pay(0, 1)), CloseTogether(Cause.CANCEL, ((0,), (1,), (2,)))),
    ((CREATED, LetTimePass(1800)), TimeOut((0, 1, 2))),
    ((CREATED, LetTimePass(1800)), CloseTogether(Cause.TIMEOUT, ((0, 1), (1, 2)))),
    ((CREATED, LetTimePass(1800)), Deliver(0)),
]
CLOSES: Final[list[Case]] = [
    (point, before, action)
    for before, action in CLOSED
    for point in (CrashPoint.CLOSE_HALF_SENT, CrashPoint.CLOSE_MOVED, CrashPoint.CLOSE_ANSWERED)
]
REFUNDED: Final[tuple[Action, ...]] = (Refund(0), CloseTogether(Cause.REFUND, ((0,), (1,), (2,))))
REFUNDS: Final[list[Case]] = [
    (point, (CREATED, Pay(0, 1), Pay(0, 1)), action)
    for action in REFUNDED
    for point in (CrashPoint.REFUND_HALF_SENT, CrashPoint.REFUND_MOVED, CrashPoint.REFUND_ANSWERED)
]
OTHERS: Final[list[Case]] = [
    (CrashPoint.PAY_BEFORE_COMMIT, (CREATED,), Pay(0, 1)),
    (CrashPoint.PAY_COMMITTED, (CREATED,), Pay(0, 1)),
    (CrashPoint.TIMEOUT_PUT_OFF, (CREATED,), Deliver(0)),
    (CrashPoint.TIMEOUT_PUT_OFF, (KILLED,), TimeOut((0, 1, 2, 3))),
    (CrashPoint.CHECK_BACK_MOVED, (KILLED,), Ask(0)),
    (CrashPoint.CHECK_BACK_MOVED, (KILLED, LetTimePass(61)), Ask(0)),
    (CrashPoint.CHECK_BACK_MOVED, (ALIVE_AND_OWING,), Ask(0)),
    (CrashPoint.SWEEP_CLOSED, (CREATED, LetTimePass(3600)), Sweep()),
    (CrashPoint.SWEEP_CLOSED, (KILLED, LetTimePass(61)), Sweep()),
    (CrashPoint.SWEEP_REBACKED, (ALIVE_AND_OWING,), Sweep()),
    (CrashPoint.SWEEP_UNCLEAR, (ALIVE_AND_OWING,), Sweep(faults=Faults(calls=(Call.ANSWERED, Call.ANSWER_LOST)))),
]
CASES: Final[list[Case]] = [*CREATES, *OF_SEVERAL, *CLOSES, *REFUNDS, *OTHERS]


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


@pytest.fixture(autouse=True)
def _no_log_of_what_is_meant_to_go_wrong() -> Iterator[None]:
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)


def test_every_crash_point_is_tried() -> None:
    assert {point for point, _, _ in CASES} == set(CrashPoint)


@pytest.mark.parametrize(
    ("point", "before", "action"), CASES, ids=[f"{point}-{n}" for n, (point, _, _) in enumerate(CASES)]
)
def test_killed_at_any_point_nothing_is_oversold_or_leaked(
    world: World, point: str, before: tuple[Action, ...], action: Any
) -> None:
    for each in before:
        world.run(each)
    world.run(replace(action, faults=action.faults | Faults(crash_at=point)))
    assert world.happened[f"crash at {point}"] == 1
    world.check()
    world.come_to_rest()
    world.check_at_rest()
    world.run(CreateTogether(SEVERAL))  # the callers try again
    world.come_to_rest()
    world.check_at_rest()


def test_what_a_member_of_a_living_group_owes_comes_back_at_once(world: World) -> None:
    world.run(ALIVE_AND_OWING)
    assert world.engine.halves[0].said == [Resolution.UNKNOWN]
    assert world.happened["the sweeper was woken"] == 1

    world.run(Sweep())  # and no time passes

    world.run(Ask(0))
    assert world.engine.halves[0].said == [Resolution.UNKNOWN, Resolution.ROLLBACK]
    world.let_late_calls_arrive()
    books = world.check()
    assert [order.state for order in books.orders.values()] == [State.FAILED, State.UNPAID, State.FAILED, State.UNPAID]
    assert books.stocks == {"tea": (5, 1), "cup": (5, 1)}
