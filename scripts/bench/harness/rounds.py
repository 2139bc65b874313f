"""Rounds: all loads of a part in turn, again and again, so that they share the machine's good and bad moments."""

from collections.abc import Iterator, Mapping
from typing import Final

from scripts.bench.harness.figures import Figure, Load, Spread, Target
from scripts.bench.harness.load import Measured, Plan
from scripts.bench.harness.recorder import Recorder
from scripts.bench.harness.testbed import Testbed

_RATE: Final = "a second"


class Rounds:
    """Goes round by round, and has the books checked after each.

    ```python
    rounds = Rounds(testbed)
    for _ in rounds:
        rounds.loads({EMPTY: testbed.full_speed(Kind.EMPTY), HOT: testbed.full_speed(Kind.SELL, (HOT_SKU,))})
    rounds.report()
    rounds.ratio("Sell ÷ empty call", HOT, EMPTY, Target(at_least=0.5, aim=0.7))
    ```

    Args:
        testbed: Where it takes place.
        count: How many rounds; 0: as many as were chosen.
        books: Whether to check the books after each round.

    Attributes:
        recorder: What was measured.
        number: Of the round, from 1.
    """

    def __init__(self, testbed: Testbed, count: int = 0, *, books: bool = True) -> None:
        self.recorder = Recorder()
        self.number = 0
        self._testbed = testbed
        self._count = count or testbed.options.rounds
        self._books = books

    def __iter__(self) -> Iterator[int]:
        for number in range(1, self._count + 1):
            self.number = number
            yield number
            if self._books:
                self._testbed.check_books(f"round {number}")

    def load(self, name: str, plan: Plan) -> Measured:
        """Carry out a plan, and note what was measured as this name's in this round."""
        measured = self._testbed.load(plan)
        self.recorder.take(name, plan.how, measured)
        p99 = self.recorder.p99(name).values[-1]
        self._testbed.say(f"  round {self.number}, {name}: {measured.rate:,.0f} a second, p99 {p99:.1f} ms")
        return measured

    def loads(self, plans: Mapping[str, Plan]) -> None:
        """Carry out these plans in turn; each round begins with another of them, so that none is always the first."""
        names = list(plans)
        first = (self.number - 1) % len(names)
        for name in names[first:] + names[:first]:
            self.load(name, plans[name])

    def note(self, name: str, value: float, samples: int = 1) -> None:
        """Note any other value of this round, and from how many measurements it comes."""
        self.recorder.note(name, value, samples)

    def report(self) -> list[Load]:
        """Put every load among the results."""
        loads = [self.recorder.load(self._testbed.part, name) for name in self.recorder.loads]
        self._testbed.results.loads += loads
        return loads

    def rate(self, name: str, target: Target | None = None) -> Figure:
        """Put a load's calls a second among the figures."""
        return self._figure(name, self.recorder.spread(name), _RATE, target)

    def value(self, name: str, unit: str, target: Target | None = None) -> Figure:
        """Put a noted value among the figures."""
        spread, samples = self.recorder.spread(name), self.recorder.samples(name)
        return self._testbed.figure(name, spread, unit, samples, target)

    def ratio(self, name: str, above: str, below: str, target: Target | None = None) -> Figure:
        """Put the ratio of two loads' calls a second, or of two values, among the figures: one a round."""
        return self._figure(name, self.recorder.ratio(above, below), "", target)

    def latency_ratio(self, name: str, above: str, below: str, target: Target | None = None) -> Figure:
        """Put the ratio of two loads' median latencies among the figures: one a round."""
        return self._figure(name, self.recorder.latency_ratio(above, below), "", target)

    def p99(self, name: str, load: str, target: Target | None = None) -> Figure:
        """Put a load's 99th percentile among the figures."""
        return self._figure(name, self.recorder.p99(load), "ms", target)

    def cpu(self, name: str, load: str, *who: str, target: Target | None = None) -> Figure:
        """Put the processor time a call of a load that these took together among the figures; see `Recorder.cpu`."""
        return self._figure(name, self.recorder.cpu(load, *who), "µs", target)

    def _figure(self, name: str, spread: Spread, unit: str, target: Target | None) -> Figure:
        return self._testbed.figure(name, spread, unit, target=target)
