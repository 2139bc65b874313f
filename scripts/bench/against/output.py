"""Where a comparison is written: JSON and a page in a folder of its own, anew after each part."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from scripts.bench.against.tables import page
from scripts.bench.report.report import write


class ComparisonOutput:
    """The report of a comparison.

    Attributes:
        measured: The parts that were written, by name.

    Args:
        console: For what was found.
        world: Where it is measured; with RocketMQ's client where that is not the usual one.
        folder: A new one, where the files go.
        sides: What each side is, by its name.
    """

    def __init__(self, console: Console, world: str, folder: Path, sides: Mapping[str, Any]) -> None:
        self.measured: dict[str, Mapping[str, Any]] = {}
        self._console = console
        self._world = world
        self._folder = folder
        self._sides = sides

    def add(self, name: str, part: Mapping[str, Any]) -> None:
        """Write a part that was measured, with those before it."""
        self.measured[name] = part
        report = {"world": self._world, "sides": self._sides, "parts": self.measured}
        file = self._folder / f"{self._world}.json"
        write(file, report)
        file.with_suffix(".md").write_text(page(report), encoding="utf-8")

    def report(self) -> bool:
        """Print what is wrong and where the files are; True when the books balance."""
        faults = [fault for part in self.measured.values() for fault in part["compared"]["faults"]]
        for fault in faults:
            self._console.print(fault, style="red", markup=False)
        if self.measured:
            self._console.print(f"written: {', '.join(self.measured)}; all of it: {self._folder}", soft_wrap=True)
        return not faults
