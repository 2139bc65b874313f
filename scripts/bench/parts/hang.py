"""One of two inventories hangs: it takes calls, and answers none. How many orders are created all the same?"""

import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from scripts.bench.harness.figures import Target
from scripts.bench.harness.load import Kind
from scripts.bench.harness.replicas import ORDER
from scripts.bench.harness.rounds import Rounds
from scripts.bench.harness.testbed import Testbed
from scripts.bench.parts.create import CREATE, warm_up

WINDOW_S: Final = 2.0
_LOAD: Final = f"{CREATE}, one of two inventories hangs meanwhile"
_BEFORE: Final = f"{CREATE} before"
_FIRST: Final = f"{CREATE} in the first {WINDOW_S:g} s"
_LATER: Final = f"{CREATE} in the {WINDOW_S:g} s after those"
_TARGET: Final = Target(at_least=0.5, aim=0.8)
_WARM_UP_S: Final = 1.0
_BEGUN_WITHIN_S: Final = 1.5  # in which a load process makes its connections and requests


def hang(testbed: Testbed) -> Iterator[None]:
    """Let one of two inventories hang while orders are created, and see how many still are."""
    with testbed.replica("inventory", {}, found=True) as second:
        testbed.stop(ORDER)  # an order service without a registry is told both addresses when it starts
        testbed.start({}, ORDER)
        warm_up(testbed)
        rounds = Rounds(testbed)
        for _ in rounds:
            yield
            _round(testbed, rounds, second)
    rounds.report()
    for name in (_BEFORE, _FIRST, _LATER):
        rounds.value(name, "a second")
    rounds.ratio(f"{_FIRST} ÷ before", _FIRST, _BEFORE, _TARGET)
    rounds.ratio(f"{_LATER} ÷ before", _LATER, _BEFORE, _TARGET)


def _round(testbed: Testbed, rounds: Rounds, victim: str) -> None:
    plan = testbed.full_speed(Kind.CREATE, testbed.skus)
    seconds = _BEGUN_WITHIN_S + 3 * WINDOW_S + 1.0
    running = testbed.start_load(replace(plan, warm_up=_WARM_UP_S, seconds=seconds, moments=True))
    time.sleep(_BEGUN_WITHIN_S + _WARM_UP_S + WINDOW_S)
    with testbed.hung(victim):
        hung = time.time()
        time.sleep(2 * WINDOW_S)  # it goes on before the load ends, which waits for its last answers
    measured = running.result()
    rounds.recorder.take(_LOAD, plan.how, measured)
    for name, count in zip((_BEFORE, _FIRST, _LATER), answered(measured.moments, hung), strict=True):
        rounds.note(name, count / WINDOW_S, count)
        testbed.say(f"  round {rounds.number}, {name}: {count / WINDOW_S:,.0f} a second")


def answered(moments: Iterable[float], hung: float) -> tuple[int, int, int]:
    """How many calls were answered in the window before a replica hung, in the one after it, and in the next one.

    Args:
        moments: When calls were answered, in seconds.
        hung: Since when the replica hangs, by the same clock.
    """
    windows = Counter(math.floor((moment - hung) / WINDOW_S) for moment in moments)
    return windows[-1], windows[0], windows[1]
