"""Throughput by callers."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from scripts.bench.harness.figures import Axis, Plot, Point, Series
from scripts.bench.harness.load import Kind, Plan
from scripts.bench.harness.rounds import Rounds
from scripts.bench.harness.testbed import HOT, Testbed
from scripts.bench.parts.create import CREATE
from scripts.bench.parts.stock import EMPTY, SELL_HOT, sell_many

_CALLERS: Final = (1, 2, 4, 8, 16, 32, 64, 128)
_SECONDS_OF_A_POINT: Final = 3.0  # in all its rounds: each of the many points has its neighbours to vouch for it
_SECONDS_AT_LEAST: Final = 0.5  # in a round


def callers(testbed: Testbed) -> Iterator[None]:
    """Let 1 to 128 callers call at once, and see what they reach together."""
    loads = {
        EMPTY: (Kind.EMPTY, ()),
        SELL_HOT: (Kind.SELL, (HOT,)),
        sell_many(testbed): (Kind.SELL, testbed.skus),
        CREATE: (Kind.CREATE, testbed.skus),
    }
    rounds = Rounds(testbed)
    for _ in rounds:
        yield
        for count in _CALLERS:
            rounds.loads({_name(name, count): _plan(testbed, *load, count) for name, load in loads.items()})
    rounds.report()
    series = tuple(
        Series(name, tuple(Point.of(count, rounds.recorder.spread(_name(name, count))) for count in _CALLERS))
        for name in loads
    )
    x, y = Axis("callers at once", log=True), Axis("throughput", "calls a second")
    testbed.plot(Plot("throughput-by-callers", "Throughput by callers", "lines", x, y, series))


def _plan(testbed: Testbed, kind: Kind, skus: tuple[str, ...], callers: int) -> Plan:
    plan = testbed.full_speed(kind, skus, callers)
    a_round = max(_SECONDS_AT_LEAST, _SECONDS_OF_A_POINT / testbed.options.rounds)
    return replace(plan, seconds=min(plan.seconds, a_round))


def _name(name: str, count: int) -> str:
    return f"{name}, {count} caller{'s' if count > 1 else ''}"
