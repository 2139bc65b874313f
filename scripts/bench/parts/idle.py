"""The services by themselves: how soon they are ready, and what they take while nobody calls."""

import time
from typing import Final

from scripts.bench.harness.figures import Target
from scripts.bench.harness.rounds import Rounds
from scripts.bench.harness.testbed import Site

_IDLE_S: Final = 5.0


def idle(site: Site) -> None:
    """Start, and wait while nobody calls: how soon they are ready, and how much of a core they take all the same."""
    rounds = Rounds(site, 1)
    for _ in rounds:
        before = site.processor_seconds()
        began = time.monotonic()
        time.sleep(_IDLE_S)
        took = time.monotonic() - began
        for who, seconds in site.processor_seconds().items():
            rounds.note(who, 100 * (seconds - before[who]) / took)
    started = site.started_in()
    for name, seconds in started.items():
        site.figure(f"{name} ready in", seconds, "s")
    site.figure("both ready, one after the other", sum(started.values()), "s", target=Target(at_most=3))
    site.figure("both services idle, share of a core", rounds.tally.spread("service"), "%")
    site.figure("engines idle, share of a core", rounds.tally.spread("engines"), "%")
