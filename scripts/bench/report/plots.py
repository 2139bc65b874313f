"""Draws a report's plots from its JSON alone: `python -m scripts.bench.report.plots docs/benchmarks/cluster.json`."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from textwrap import fill
from typing import Annotated, Any, Final

import matplotlib as mpl
import typer
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from scripts.bench.report.report import in_words, read_existing
from scripts.lib.command_line import WrongUsage, run

_COLOURS: Final = ("#1f5a94", "#c8702a", "#3d8a55", "#8a4f9e", "#a33b3b", "#6b6b6b", "#2a9a9a", "#b59a2c")
_WRONG: Final = "#c9a0a0"
_WIDTH: Final = 8.4  # inches
_HEIGHT: Final = 4.8
_A_BAR: Final = 0.42
_BELOW_AXES: Final = 40.0  # points: ticks and label
_LEGEND_ROW: Final = 16.0  # points
_COLUMNS: Final = 2
_POINTS_AN_INCH: Final = 72
_FOOTER_SIGNS: Final = 105  # a line
_DOTS: Final = 120  # of a PNG, an inch
_SHARES: Final = (0.01, 0.5, 0.9, 0.99, 0.999, 0.9999)
_FEW_TICKS: Final = 9
_SETTINGS: Final[dict[Any, Any]] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same on every machine
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e2e2e2",
    "grid.linewidth": 0.7,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "legend.frameon": False,
    "svg.hashsalt": "reback",  # the same JSON, the same file
    "svg.fonttype": "path",
}


def draw_all(report: Mapping[str, Any], folder: Path, only: str = "") -> dict[str, list[str]]:
    """Draw every plot of a report as SVG and PNG.

    Args:
        report: As it was written.
        folder: Where the files go.
        only: A part: the plots of the others are there already.

    Returns:
        The SVGs by part, those of the others too, relative to the folder above theirs.
    """
    drawn: dict[str, list[str]] = {}
    for name, part in report["parts"].items():
        for plot in part["plots"]:
            footer = f"{report['world']} · {_date(part)} · {in_words(part['machine'])}"
            if only in {"", name}:
                draw(plot, footer, folder)
            drawn.setdefault(name, []).append(f"{folder.name}/{plot['name']}.svg")
    return drawn


def draw(plot: Mapping[str, Any], footer: str, folder: Path) -> None:
    """Draw a plot into `folder`, as SVG and PNG.

    Args:
        plot: `figures.Plot` as it is in JSON.
        footer: Where and on what it was measured.
        folder: It is made when it is not there.

    Raises:
        ValueError: The plot is of no known kind.
    """
    if plot["kind"] not in _KINDS:
        raise ValueError(f"no kind of plot: {plot['kind']!r}; there are {', '.join(_KINDS)}")
    folder.mkdir(parents=True, exist_ok=True)
    with mpl.rc_context(_SETTINGS):
        figure = Figure(figsize=(_WIDTH, _height(plot)))
        axes = figure.subplots()
        axes.set_title(plot["title"], pad=12)
        _KINDS[plot["kind"]](axes, plot)
        below = _BELOW_AXES
        if len(plot["series"]) > 1 and plot["kind"] != "bars":  # beside a bar there is its name
            place = (0, -below / (figure.get_figheight() * _POINTS_AN_INCH * axes.get_position().height))
            axes.legend(loc="upper left", bbox_to_anchor=place, ncols=_COLUMNS, borderaxespad=0, borderpad=0)
            below += _LEGEND_ROW * -(-len(plot["series"]) // _COLUMNS)
        wrapped = fill(footer, _FOOTER_SIGNS)  # else the picture is as wide as it
        axes.annotate(
            wrapped, (0, 0), (0, -below), "axes fraction", "offset points", fontsize=6.5, color="#666666", va="top"
        )
        for ending in ("svg", "png"):
            metadata = {"Date": None} if ending == "svg" else {}  # else no two files are the same
            file = folder / f"{plot['name']}.{ending}"
            figure.savefig(file, dpi=_DOTS, bbox_inches="tight", pad_inches=0.15, metadata=metadata)


def _lines(axes: Axes, plot: Mapping[str, Any]) -> None:
    for colour, series in _coloured(plot):
        points = sorted(series["points"], key=lambda point: float(point["x"]))
        x, y = [point["x"] for point in points], [point["y"] for point in points]
        axes.plot(x, y, "o-", color=colour, linewidth=1.8, markersize=4, label=series["name"])
        low = [point["y"] if point["low"] is None else point["low"] for point in points]
        high = [point["y"] if point["high"] is None else point["high"] for point in points]
        axes.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
    _label(axes, plot)
    if plot["x"]["log"]:
        axes.set_xscale("log")
        places = sorted({float(point["x"]) for series in plot["series"] for point in series["points"]})
        if len(places) <= _FEW_TICKS:  # what was measured, not powers of ten
            axes.xaxis.set_major_locator(FixedLocator(places))
            axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(_number))
    _scale_y(axes, plot)


def _percentiles(axes: Axes, plot: Mapping[str, Any]) -> None:
    """The rarer, the further to the right: each nine takes as much room as the one before."""
    for colour, series in _coloured(plot):
        x = [_nines(point["x"]) for point in series["points"]]
        axes.plot(x, [point["y"] for point in series["points"]], "-", color=colour, linewidth=1.8, label=series["name"])
    _label(axes, plot)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator([_nines(share) for share in _SHARES]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * (1 - 1 / x):g}"))
    _scale_y(axes, plot)


def _bars(axes: Axes, plot: Mapping[str, Any]) -> None:
    """One below the other, the first on top; what is not right is pale."""
    bars = [(series["name"], point) for series in plot["series"] for point in series["points"]]
    several = len(plot["series"]) > 1
    colours = {series["name"]: colour for colour, series in _coloured(plot)}
    for place, (name, point) in enumerate(bars):
        axes.barh(place, point["y"], height=0.62, color=colours[name] if point["good"] else _WRONG)
        if point["low"] is not None:
            below, above = point["y"] - point["low"], point["high"] - point["y"]
            axes.errorbar(point["y"], place, xerr=[[below], [above]], color="#333333", linewidth=1, capsize=3)
        end = point["y"] if point["high"] is None else point["high"]
        text = " · ".join(filter(None, [_number(point["y"]), point["note"]]))
        axes.annotate(text, (end, place), xytext=(5, 0), textcoords="offset points", va="center", fontsize=8.5)
    labels = [f"{point['x']}, {name}" if several else str(point["x"]) for name, point in bars]
    axes.set_yticks(range(len(bars)), labels)
    axes.invert_yaxis()
    axes.grid(visible=False, axis="y")
    axes.set_xlabel(_axis_label(plot["y"]))
    if plot["y"]["log"]:
        axes.set_xscale("log")
    axes.xaxis.set_major_formatter(FuncFormatter(_number))
    axes.margins(x=0.18)


_KINDS: Final[Mapping[str, Callable[[Axes, Mapping[str, Any]], None]]] = {
    "lines": _lines,
    "percentiles": _percentiles,
    "bars": _bars,
}


def _height(plot: Mapping[str, Any]) -> float:
    if plot["kind"] != "bars":
        return _HEIGHT
    return 1.4 + _A_BAR * sum(len(series["points"]) for series in plot["series"])


def _coloured(plot: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return [(_COLOURS[number % len(_COLOURS)], series) for number, series in enumerate(plot["series"])]


def _label(axes: Axes, plot: Mapping[str, Any]) -> None:
    axes.set_xlabel(_axis_label(plot["x"]))
    axes.set_ylabel(_axis_label(plot["y"]))


def _scale_y(axes: Axes, plot: Mapping[str, Any]) -> None:
    if plot["y"]["log"]:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(FuncFormatter(_number))


def _axis_label(axis: Mapping[str, Any]) -> str:
    return f"{axis['label']} ({axis['unit']})" if axis["unit"] else str(axis["label"])


def _nines(share: float) -> float:
    return 1 / (1 - share)


def _number(value: float, _place: int | None = None) -> str:
    return f"{value:,.0f}" if abs(value) >= 10 or value == int(value) else f"{value:.3g}"  # noqa: PLR2004 two digits


def _date(part: Mapping[str, Any]) -> str:
    return str(part["machine"]["time"]).partition("T")[0]


def draw_reports(
    reports: Annotated[list[Path], typer.Argument(metavar="REPORT...", help="The JSON of a run.")],
) -> None:
    """Draw the plots of these reports again, each into a folder beside the report with the same name."""
    try:
        known = {file: read_existing(file) for file in reports}
    except ValueError as error:
        raise WrongUsage(str(error)) from error
    for file, report in known.items():
        for names in draw_all(report, file.with_suffix("")).values():
            for name in names:
                sys.stdout.write(f"{file.parent / name}\n")


if __name__ == "__main__":
    run(draw_reports)
