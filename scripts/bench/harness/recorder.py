"""What the rounds of a part measured: values by name and round, and ratios that are made within a round."""

from array import array
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from scripts.bench.harness.figures import SHARES, Load, Spread, percentile
from scripts.bench.harness.load import Measured

_MS: Final = 1000.0
_MICROSECONDS: Final = 1e6


@dataclass
class _Seen:
    """Of one load, a value a round each, and the latencies of all rounds."""

    how: str
    rates: list[float] = field(default_factory=list)
    p50: list[float] = field(default_factory=list)
    p99: list[float] = field(default_factory=list)
    p999: list[float] = field(default_factory=list)
    cpu: dict[str, list[float]] = field(default_factory=dict)
    latencies: "array[float]" = field(default_factory=lambda: array("d"))


class Recorder:
    """Takes in what is measured round by round."""

    def __init__(self) -> None:
        self._values: dict[str, list[float]] = {}
        self._samples: Counter[str] = Counter()
        self._loads: dict[str, _Seen] = {}

    @property
    def loads(self) -> Mapping[str, str]:
        """The loads by name, in the order in which they first came, and how each called."""
        return {name: seen.how for name, seen in self._loads.items()}

    def note(self, name: str, value: float, samples: int = 1) -> None:
        """Note a value of this round, and from how many measurements it comes."""
        self._values.setdefault(name, []).append(value)
        self._samples[name] += samples

    def samples(self, name: str) -> int:
        """From how many measurements a value comes, in all rounds."""
        return self._samples[name]

    def take(self, name: str, how: str, measured: Measured) -> None:
        """Note a load of this round.

        Raises:
            RuntimeError: No call of it succeeded.
        """
        if not measured.latencies:
            raise RuntimeError(f"no call succeeded: {name}; failures: {dict(measured.failures)}")
        seen = self._loads.setdefault(name, _Seen(how))
        took = sorted(measured.latencies)
        seen.rates.append(measured.rate)
        seen.p50.append(percentile(took, 0.5) * _MS)
        seen.p99.append(percentile(took, 0.99) * _MS)
        seen.p999.append(percentile(took, 0.999) * _MS)
        for who, seconds in measured.cpu.items():
            seen.cpu.setdefault(who, []).append(seconds / max(1, measured.calls) * _MICROSECONDS)
        seen.latencies.extend(took)
        self.note(name, measured.rate)

    def spread(self, name: str) -> Spread:
        """Of a value, or of a load's calls a second."""
        return Spread.of(self._values[name])

    def ratio(self, above: str, below: str) -> Spread:
        """Of two values or loads: a ratio a round, then their median and range."""
        pairs = zip(self._values[above], self._values[below], strict=True)
        return Spread.of(one / other for one, other in pairs)

    def latency_ratio(self, above: str, below: str) -> Spread:
        """The same of two loads' median latencies."""
        pairs = zip(self._loads[above].p50, self._loads[below].p50, strict=True)
        return Spread.of(one / other for one, other in pairs)

    def p99(self, name: str) -> Spread:
        """Milliseconds, of a load."""
        return Spread.of(self._loads[name].p99)

    def cpu(self, name: str, *who: str) -> Spread:
        """Microseconds of processor time a call of a load that these took together, of those that were measured."""
        cpu = self._loads[name].cpu
        return Spread.of(map(sum, zip(*(cpu[each] for each in who if each in cpu), strict=True)))

    def load(self, part: str, name: str) -> Load:
        """All that was measured of a load."""
        seen = self._loads[name]
        took = sorted(seen.latencies)
        return Load(
            part=part,
            name=name,
            how=seen.how,
            rate=Spread.of(seen.rates),
            p50=Spread.of(seen.p50),
            p99=Spread.of(seen.p99),
            p999=Spread.of(seen.p999),
            cpu={who: Spread.of(values) for who, values in seen.cpu.items()},
            distribution=tuple((share, percentile(took, share) * _MS) for share in SHARES),
            calls=len(took),
        )
