"""A comparison as tables, for a terminal and for a page; made from the JSON alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from scripts.bench.against.comparison import ALL, NEW, OLD
from scripts.bench.report.report import in_words
from scripts.bench.report.table import markdown_rows, range_of, rounded

_DIVIDED: Final = "new ÷ old"
_WHO: Final = {"service": "services", "engines": "engines", ALL: "both"}
_NOT_ENGINES: Final = ("inventory_srv", "order_srv", "load", *_WHO)
_DIGITS: Final = 3  # of a ratio, behind the point: what is looked for are a few hundredths


@dataclass(frozen=True)
class Grid:
    """A table: its title, its headings, its rows."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


def grids(part: Mapping[str, Any]) -> Iterator[Grid]:
    """The tables of a part: ratios first, then what they are made of; none that is empty."""
    found = part["compared"]
    yield from filter(
        lambda grid: grid.rows,
        (
            Grid("new ÷ old, the median of the turns (and their range)", _RATIOS, [_ratios(x) for x in found["loads"]]),
            Grid("throughput and latency", _LOADS, [row for x in found["loads"] for row in _sides(x)]),
            _processor_time(found["loads"]),
            Grid("figures", ("figure", OLD, NEW, _DIVIDED), [_figure(x) for x in found["figures"]]),
        ),
    )


def page(report: Mapping[str, Any]) -> str:
    """The page of a comparison."""
    sides = report["sides"]
    lines = [
        f"# Benchmark: {sides[NEW]['commit']} against {sides[OLD]['commit']}, {report['world']}",
        "",
        *(f"- {name}: {_side(sides[name])}" for name in (NEW, OLD)),
        "",
        "One load generator and one set of engines for both, a round of each side in turns. CPU is what a call took.",
        "",
    ]
    for name, part in report["parts"].items():
        options = part["options"]
        lines += [f"## {name}", "", f"{part['machine']['time']}, {in_words(part['machine'])}", ""]
        lines += [f"{options['rounds']} turns of {options['seconds']:g} s; took {part['took_seconds']:.0f} s", ""]
        lines += [f"**The books did not balance:** {fault}" for fault in part["compared"]["faults"]]
        for grid in grids(part):
            lines += [f"### {name}: {grid.title}", "", *markdown_rows(grid.headings, grid.rows), ""]
    return "\n".join(lines)


def _side(side: Mapping[str, Any]) -> str:
    return f"{side['commit']}, Python {side['python']}, grpcio {side['grpcio']}, {side['packages']['inventory_srv']}"


_RATIOS: Final = ("load", "a second", "p50", "p99", *(f"CPU {name}" for name in _WHO.values()))


def _ratios(load: Mapping[str, Any]) -> list[str]:
    ratios = load["ratios"]
    return [
        load["name"],
        *(_ratio(ratios[key]) for key in ("rate", "p50", "p99")),
        *(_ratio(ratios["cpu"].get(who)) for who in _WHO),
    ]


_LOADS: Final = ("load", "how", "side", "a second", "range", "p50 ms", "range", "p99 ms", "range")


def _sides(load: Mapping[str, Any]) -> Iterator[list[str]]:
    for side in (OLD, NEW):
        spreads = [load[side][key] for key in ("rate", "p50", "p99")]
        values = [text for spread in spreads for text in (rounded(spread["median"]), range_of(spread))]
        yield [load["name"], load["how"], side, *values]


def _processor_time(loads: Sequence[Mapping[str, Any]]) -> Grid:
    """By program: microseconds a call of each side, and their ratio."""
    seen = list(dict.fromkeys(who for load in loads for who in load[NEW]["cpu"]))
    services = [who for who in ("inventory_srv", "order_srv") if who in seen]
    engines = [who for who in seen if who not in _NOT_ENGINES]
    columns = {
        "services": "service",
        **{who: who for who in services},
        "engines": "engines",
        **{who: who for who in engines},
        "services and engines": ALL,
        "load generator": "load",
    }
    rows = []
    for load in loads:
        for side in (OLD, NEW):
            cpu = load[side]["cpu"]
            values = [rounded(cpu[who]["median"]) if who in cpu else "" for who in columns.values()]
            rows.append([load["name"], side, *values])
        ratios = load["ratios"]["cpu"]
        rows.append([load["name"], _DIVIDED, *(_median(ratios.get(who)) for who in columns.values())])
    return Grid("processor time a call, µs", ("load", "side", *columns), rows)


def _figure(figure: Mapping[str, Any]) -> list[str]:
    return [figure["name"], *(_value(figure[side], figure["unit"]) for side in (OLD, NEW)), _ratio(figure["ratio"])]


def _value(spread: Mapping[str, Any], unit: str) -> str:
    span = range_of(spread)
    return f"{rounded(spread['median'])} {unit}".strip() + (f" ({span})" if span else "")


def _ratio(spread: Mapping[str, Any] | None) -> str:
    if spread is None:
        return ""
    if len(spread["values"]) == 1:
        return _median(spread)
    return f"{_median(spread)} ({spread['low']:.{_DIGITS}f} to {spread['high']:.{_DIGITS}f})"


def _median(spread: Mapping[str, Any] | None) -> str:
    return "" if spread is None else f"{spread['median']:.{_DIGITS}f}"
