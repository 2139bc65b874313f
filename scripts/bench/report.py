"""What was measured: as a table for people, as JSON for programs."""

import json
import math
import platform
import sqlite3
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import psutil
from rich.console import Console
from rich.table import Table

_PACKAGES: Final = ("reback", "grpcio", "protobuf", "protovalidate", "peewee")


@dataclass(frozen=True)
class Target:
    """What a figure is to be: at least, at most, or both."""

    at_least: float | None = None
    at_most: float | None = None

    def met(self, value: float) -> bool:
        return (self.at_least is None or value >= self.at_least) and (self.at_most is None or value <= self.at_most)

    def __str__(self) -> str:
        bounds = [] if self.at_least is None else [f"≥ {self.at_least:g}"]
        return ", ".join(bounds if self.at_most is None else [*bounds, f"≤ {self.at_most:g}"])


@dataclass(frozen=True)
class Figure:
    """One measured figure.

    Attributes:
        part: The part of the benchmark that it belongs to.
        name: What was measured.
        value: How much.
        unit: Of what.
        samples: From how many measurements.
        target: What it is to be; None: there is no target.
    """

    part: str
    name: str
    value: float
    unit: str
    samples: int
    target: Target | None = None

    @property
    def missed(self) -> bool:
        return self.target is not None and not self.target.met(self.value)


def percentile(values: list[float], share: float) -> float:
    """The value that `share` of them do not exceed.

    Args:
        values: Sorted, at least one.
        share: 0.5 for the median.
    """
    return values[max(0, math.ceil(share * len(values)) - 1)]


def machine() -> dict[str, Any]:
    """On what it was measured."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": psutil.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "load_before": round(psutil.getloadavg()[0], 2),
        "system": platform.platform(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        **{package: version(package) for package in _PACKAGES},
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def table(figures: list[Figure]) -> Table:
    """The figures, and whether their targets are met."""
    shown = Table(title="Measured", title_justify="left")
    for heading in ("part", "figure"):
        shown.add_column(heading)
    for heading in ("value", "samples", "target"):
        shown.add_column(heading, justify="right")
    shown.add_column("")
    part = ""
    for figure in figures:
        if figure.part != part and part:
            shown.add_section()
        verdict = "" if figure.target is None else "[red]missed[/red]" if figure.missed else "[green]met[/green]"
        shown.add_row(
            figure.part if figure.part != part else "",
            figure.name,
            f"{_rounded(figure.value)} {figure.unit}".strip(),
            f"{figure.samples:,}",
            str(figure.target or ""),
            verdict,
        )
        part = figure.part
    return shown


def tell_machine(console: Console, facts: dict[str, Any]) -> None:
    """Print on what it is measured, and a warning when others use it too."""
    console.print(
        f"{facts['processor']}, {facts['cores']} cores, {facts['memory_gb']} GB; Python {facts['python']}, "
        f"grpcio {facts['grpcio']}, SQLite {facts['sqlite']}; load before: {facts['load_before']}"
    )
    if facts["load_before"] > facts["cores"] / 2:
        console.print("others are using this machine: expect lower figures", style="yellow")


def write_json(
    path: Path, facts: dict[str, Any], options: dict[str, Any], figures: list[Figure], faults: list[str]
) -> None:
    """Write everything down."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {
        "machine": facts,
        "options": options,
        "figures": [{**asdict(figure), "missed": figure.missed} for figure in figures],
        "book_faults": faults,
    }
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def _rounded(value: float) -> str:
    for limit, digits in ((100, 0), (10, 1), (1, 2)):
        if abs(value) >= limit:
            return f"{value:,.{digits}f}"
    return f"{value:.3f}"
