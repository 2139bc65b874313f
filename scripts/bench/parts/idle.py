"""The services by themselves: how soon they are ready, and what they take while nobody calls."""

import time
from typing import Final

from scripts.bench.harness.figures import Target
from scripts.bench.harness.rounds import Rounds
from scripts.bench.harness.testbed import Testbed

_IDLE_S: Final = 5.0


def idle(testbed: Testbed) -> None:
    """Start, and wait while nobody calls: how soon they are ready, and how much of a core they take all the same."""
    rounds = Rounds(testbed, 1)
    for _ in rounds:
        before = testbed.processor_seconds()
        began = time.monotonic()
        time.sleep(_IDLE_S)
        took = time.monotonic() - began
        for who, seconds in testbed.processor_seconds().items():
            rounds.note(who, 100 * (seconds - before[who]) / took)
    started = testbed.started_in()
    for name, seconds in started.items():
        testbed.figure(f"{name} ready in", seconds, "s")
    testbed.figure("both ready, one after the other", sum(started.values()), "s", target=Target(at_most=3))
    testbed.figure("both services idle, share of a core", rounds.recorder.spread("service"), "%")
    testbed.figure("engines idle, share of a core", rounds.recorder.spread("engines"), "%")
