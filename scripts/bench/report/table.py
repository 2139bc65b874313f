"""A report as tables: Markdown for a page, rich ones for a terminal; made from the JSON alone."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, Final

from rich.markup import escape
from rich.table import Table

from scripts.bench.harness.figures import Target
from scripts.bench.report.report import in_words

_FIGURES: Final = ("figure", "median", "range", "at least", "aim", "")
_LOADS: Final = ("load", "how", "a second", "p50 ms", "p99 ms", "p99.9 ms", "CPU µs a call: service", "engines", "load")
_COLOURS: Final = {"missed": "red", "met": "green", "aim met": "bold green", "": ""}
_MISSED: Final = "missed"


def markdown(report: Mapping[str, Any], plots: Mapping[str, Sequence[str]]) -> str:
    """A page with every figure and load of a report.

    Args:
        report: As it was written.
        plots: The plots' files by part, relative to the page.
    """
    lines = [
        f"# Benchmark: {report['world']}",
        "",
        "Made from the JSON beside it; what each figure means: [README](README.md).",
        "",
    ]
    for name, part in report["parts"].items():
        lines += [f"## {name}", "", _footer(part), ""]
        if part["book_faults"]:
            lines += [f"**The books did not balance: {len(part['book_faults'])} faults.**", ""]
        lines += [*markdown_rows(_FIGURES, figure_rows(part)), ""] if part["figures"] else []
        lines += [*markdown_rows(_LOADS, load_rows(part)), ""] if part["loads"] else []
        for file in plots.get(name, ()):
            lines += [f"![{PurePosixPath(file).stem}]({file})", ""]
    return "\n".join(lines)


def console_tables(part: Mapping[str, Any], name: str) -> Iterator[Table]:
    """A part's figures, then its loads, where there are any."""
    for headings, rows in ((_LOADS, load_rows(part)), (_FIGURES, figure_rows(part))):
        if rows:
            yield console_table(name, headings, rows)


def console_table(title: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    """A table for a terminal; the last cell of a row has a colour where it is a verdict."""
    table = Table(title=escape(title), title_justify="left")
    for number, heading in enumerate(headings):
        table.add_column(escape(heading), justify="left" if number == 0 else "right")
    for row in rows:
        *cells, last = map(escape, row)
        colour = _COLOURS.get(last, "")
        table.add_row(*cells, f"[{colour}]{last}[/{colour}]" if colour else last)
    return table


def figure_rows(part: Mapping[str, Any]) -> list[list[str]]:
    """Name, median with its unit, range, target, aim, verdict."""
    rows = []
    for figure in part["figures"]:
        target = Target(**(figure["target"] or {}))
        median = f"{rounded(figure['value']['median'])} {figure['unit']}".strip()
        rows.append(
            [figure["name"], median, range_of(figure["value"]), target.bound, target.aimed_at, figure["verdict"]]
        )
    return rows


def load_rows(part: Mapping[str, Any]) -> list[list[str]]:
    """Name, how it called, calls a second with their range, latencies, processor time a call."""
    rows = []
    for load in part["loads"]:
        rate, span = rounded(load["rate"]["median"]), range_of(load["rate"])
        latencies = [rounded(load[name]["median"]) for name in ("p50", "p99", "p999")]
        cpu = [
            rounded(load["cpu"][who]["median"]) if who in load["cpu"] else "" for who in ("service", "engines", "load")
        ]
        rows.append([load["name"], load["how"], f"{rate} ({span})" if span else rate, *latencies, *cpu])
    return rows


def missed(report: Mapping[str, Any]) -> list[str]:
    """The figures that miss what they have to reach."""
    figures = [figure for part in report["parts"].values() for figure in part["figures"]]
    return [figure["name"] for figure in figures if figure["verdict"] == _MISSED]


def rounded(value: float) -> str:
    """With three digits or so."""
    if value == 0:
        return "0"
    for limit, digits in ((100, 0), (10, 1), (1, 2)):
        if abs(value) >= limit:
            return f"{value:,.{digits}f}"
    return f"{value:.3f}"


def range_of(spread: Mapping[str, Any]) -> str:
    if len(spread["values"]) < 2:  # noqa: PLR2004 one value has no range
        return ""
    return f"{rounded(spread['low'])} to {rounded(spread['high'])}"


def _footer(part: Mapping[str, Any]) -> str:
    facts, options = part["machine"], part["options"]
    return (
        f"{facts['time']}, {in_words(facts)}; load before {facts['load_before']}; "
        f"{options['rounds']} rounds of {options['seconds']:g} s; took {part['took_seconds']:.0f} s"
    )


def markdown_rows(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(headings)} |"
    yield f"| --- |{' ---: |' * (len(headings) - 1)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"
