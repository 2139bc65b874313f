"""What the sides of a comparison come to: their values side by side, and the ratios of each turn."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from scripts.bench.harness.figures import Spread

NEW: Final = "new"
OLD: Final = "old"
_SUMMED: Final = ("service", "engines")
ALL: Final = "all"
"""Who took processor time: services and engines together."""


def compared(new: Mapping[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
    """Compare what a part found on two sides.

    Args:
        new: The report of the part (`report.of_part`) on this checkout, each load and figure with one value a turn.
        old: The same on the other commit.

    Returns:
        `loads` and `figures` that both sides have, with each side's values under `new` and `old`, and under `ratios`
        (for a figure: `ratio`) new ÷ old: median, range and values of the turns; None where a value was 0.
    """
    loads = _pairs(new["loads"], old["loads"])
    figures = _pairs(new["figures"], old["figures"])
    return {
        "loads": [_load(one, other) for one, other in loads],
        "figures": [_figure(one, other) for one, other in figures],
        "faults": [f"{side}: {fault}" for side, part in ((NEW, new), (OLD, old)) for fault in part["book_faults"]],
    }


def ratio(new: Sequence[float], old: Sequence[float]) -> Spread | None:
    """New ÷ old of each turn, their median and range; None where there is nothing to divide by.

    Raises:
        ValueError: The sides have not as many turns.
    """
    if len(new) != len(old):
        raise ValueError(f"{len(new)} turns can't be compared with {len(old)}")
    return Spread.of(one / other for one, other in zip(new, old, strict=True)) if new and all(old) else None


def _pairs(new: Sequence[Mapping[str, Any]], old: Sequence[Mapping[str, Any]]) -> list[tuple[Any, Any]]:
    others = {each["name"]: each for each in old}
    return [(each, others[each["name"]]) for each in new if each["name"] in others]


def _load(new: Mapping[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
    sides = {name: {**side, "cpu": _with_sum(side["cpu"])} for name, side in ((NEW, new), (OLD, old))}
    who = [each for each in sides[NEW]["cpu"] if each in sides[OLD]["cpu"]]
    return {
        "name": new["name"],
        "how": new["how"],
        **{
            name: {key: side[key] for key in ("rate", "p50", "p99", "p999", "cpu", "calls")}
            for name, side in sides.items()
        },
        "ratios": {
            **{key: _ratio_of(new[key], old[key]) for key in ("rate", "p50", "p99", "p999")},
            "cpu": {each: _ratio_of(sides[NEW]["cpu"][each], sides[OLD]["cpu"][each]) for each in who},
        },
    }


def _with_sum(cpu: Mapping[str, Any]) -> dict[str, Any]:
    """Processor time a call by who, and that of services and engines together."""
    summed = zip(*(cpu[who]["values"] for who in _SUMMED if who in cpu), strict=True)
    return {**cpu, ALL: asdict(Spread.of(map(sum, summed)))}


def _figure(new: Mapping[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": new["name"],
        "unit": new["unit"],
        NEW: new["value"],
        OLD: old["value"],
        "ratio": _ratio_of(new["value"], old["value"]),
    }


def _ratio_of(new: Mapping[str, Any], old: Mapping[str, Any]) -> dict[str, Any] | None:
    found = ratio(new["values"], old["values"])
    return asdict(found) if found else None
