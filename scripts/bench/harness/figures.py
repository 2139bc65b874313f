"""What a benchmark says: medians and ranges, figures with their targets, measured loads, and what is drawn of them."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Self

SHARES: Final = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9995, 0.9999)
"""Of how many calls a load's distribution tells how long they took at most."""


def percentile(values: Sequence[float], share: float) -> float:
    """The value that `share` of them do not exceed.

    Args:
        values: Sorted, at least one.
        share: 0.5 for the median.
    """
    return values[max(0, math.ceil(share * len(values)) - 1)]


@dataclass(frozen=True)
class Spread:
    """The same thing measured several times.

    Attributes:
        median, low, high: Of the values.
        values: One a round, in the order of the rounds.
    """

    median: float
    low: float
    high: float
    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """Of at least one value."""
        each = tuple(values)
        return cls(statistics.median(each), min(each), max(each), each)


@dataclass(frozen=True)
class Target:
    """What a figure is to be, and better still, what is aimed at; the larger is better unless there is an `at_most`.

    Attributes:
        at_least, at_most: What it has to reach, or may not exceed.
        aim: What is aimed at, on the same side.
    """

    at_least: float | None = None
    at_most: float | None = None
    aim: float | None = None

    def met(self, value: float) -> bool:
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)

    def aim_met(self, value: float) -> bool:
        """Whether the aim is reached; never where there is none."""
        if self.aim is None:
            return False
        return value >= self.aim if self.at_most is None else value <= self.aim

    def verdict(self, value: float) -> str:
        """`missed`, `met`, or `aim met`."""
        if not self.met(value):
            return "missed"
        return "aim met" if self.aim_met(value) else "met"

    @property
    def bound(self) -> str:
        """What it has to be, for a person."""
        bounds = [] if self.at_least is None else [f"≥ {self.at_least:g}"]
        return ", ".join(bounds if self.at_most is None else [*bounds, f"≤ {self.at_most:g}"])

    @property
    def aimed_at(self) -> str:
        """What is aimed at, for a person."""
        return "" if self.aim is None else f"{'≥' if self.at_most is None else '≤'} {self.aim:g}"


@dataclass(frozen=True)
class Figure:
    """One measured figure.

    Attributes:
        part: The part of the benchmark that it belongs to.
        name: What was measured.
        value: How much, in each round.
        unit: Of what.
        samples: From how many measurements in all.
        target: What it is to be; None: there is no target.
    """

    part: str
    name: str
    value: Spread
    unit: str
    samples: int
    target: Target | None = None

    @property
    def verdict(self) -> str:
        """Of the median; empty where there is no target."""
        return "" if self.target is None else self.target.verdict(self.value.median)

    @property
    def missed(self) -> bool:
        return self.verdict == "missed"

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "verdict": self.verdict}


@dataclass(frozen=True)
class Load:
    """One load, as it was measured in every round.

    Attributes:
        part: The part of the benchmark that it belongs to.
        name: What was called.
        how: By how many callers, or at which rate.
        rate: Calls answered a second.
        p50, p99, p999: Milliseconds, of the calls of a round.
        cpu: Microseconds of processor time a call, by who took it (`service`, `engines`, `load`).
        distribution: Share of the calls of all rounds, and the milliseconds within which they were answered.
        calls: How many were measured in all.
    """

    part: str
    name: str
    how: str
    rate: Spread
    p50: Spread
    p99: Spread
    p999: Spread
    cpu: Mapping[str, Spread]
    distribution: tuple[tuple[float, float], ...]
    calls: int


@dataclass(frozen=True)
class Axis:
    """An axis of a plot.

    Attributes:
        label: What it shows.
        unit: In what; empty for a plain number.
        log: Whether it is logarithmic.
    """

    label: str
    unit: str = ""
    log: bool = False


@dataclass(frozen=True)
class Point:
    """A point of a line, or a bar.

    Attributes:
        x: Where; the name of a bar.
        y: How much: the median.
        low, high: Its range; None: there is one value.
        note: A word to write beside a bar.
        good: Whether a bar stands for something that is right; a wrong one is drawn in another colour.
    """

    x: float | str
    y: float
    low: float | None = None
    high: float | None = None
    note: str = ""
    good: bool = True

    @classmethod
    def of(cls, x: float | str, spread: Spread, note: str = "", *, good: bool = True) -> Self:
        return cls(x, spread.median, spread.low, spread.high, note, good)


@dataclass(frozen=True)
class Series:
    """What is drawn in one colour."""

    name: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Plot:
    """What is to be drawn.

    Attributes:
        name: Of its file, without an ending.
        title: What it says.
        kind: `lines`; `bars`: one a point, `x` is its name; `percentiles`: `x` is a share of the calls below 1.
        x, y: Its axes.
        series: What is in it.
    """

    name: str
    title: str
    kind: str
    x: Axis
    y: Axis
    series: tuple[Series, ...] = field(default_factory=tuple)
