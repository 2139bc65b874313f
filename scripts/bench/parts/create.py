"""Creating orders: as fast as the callers can, and at half of that rate."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from scripts.bench.harness.figures import Target
from scripts.bench.harness.load import Kind
from scripts.bench.harness.rounds import Rounds
from scripts.bench.harness.testbed import Testbed
from scripts.bench.parts.stock import EMPTY, distribution

CREATE: Final = "CreateOrder"
_AT_HALF: Final = "CreateOrder, at half of its most"
_HALF: Final = 0.5
_WARM_UP_S: Final = 20.0
"""Before the first round: a broker that has just been started compiles what it runs, on the same cores."""
_LONGER: Final = 4
"""Times as long as at full speed: of some hundred calls the 99th percentile would be the second or third worst."""


def create(testbed: Testbed) -> Iterator[None]:
    """Create orders as fast as the callers can, and at half of that rate."""
    testbed.load(replace(testbed.full_speed(Kind.CREATE, testbed.skus), seconds=_WARM_UP_S))
    rounds = Rounds(testbed)
    for _ in rounds:
        yield
        rounds.loads({EMPTY: testbed.full_speed(Kind.EMPTY), CREATE: testbed.full_speed(Kind.CREATE, testbed.skus)})
        half = testbed.agree(f"{_AT_HALF} {rounds.number}", rounds.recorder.spread(CREATE).values[-1] * _HALF)
        paced = testbed.paced(Kind.CREATE, testbed.skus, half)
        rounds.load(_AT_HALF, replace(paced, seconds=_LONGER * paced.seconds))
    rounds.report()
    rounds.rate(CREATE)
    rounds.ratio("CreateOrder ÷ empty call", CREATE, EMPTY)
    rounds.p99("CreateOrder at half of its most, p99", _AT_HALF, Target(at_most=60, aim=30))
    testbed.plot(
        distribution("latency-create", [rounds.recorder.load(testbed.part, name) for name in (CREATE, _AT_HALF)])
    )
