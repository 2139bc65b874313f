"""Where a run writes what it measured: anew after each part, so that one that is killed has lost one part at most."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from scripts.bench.report.report import merged, read, write
from scripts.bench.report.table import markdown, missed

_DRAWS: Final = "no plots: matplotlib is not installed (the extra `plots`)"


class Output:
    """A report in a folder: JSON, a page, and plots.

    Attributes:
        measured: The parts that this run has written, by name.

    Args:
        console: For what was found.
        name: Of the files and in the page's title: where it is measured.
        folder: Where the files go; parts of an earlier run that are there stay until they are measured anew.
        order: The names of all parts, in the order of the report.
    """

    def __init__(self, console: Console, name: str, folder: Path, order: Sequence[str]) -> None:
        self.measured: dict[str, Mapping[str, Any]] = {}
        self._console = console
        self._name = name
        self._folder = folder
        self._order = order

    def add(self, name: str, part: Mapping[str, Any]) -> None:
        """Write a part that was measured, with all that is there already."""
        self.measured[name] = part
        file = self._folder / f"{self._name}.json"
        report = merged(read(file), self._name, {name: part}, self._order)
        write(file, report)
        file.with_suffix(".md").write_text(markdown(report, self._draw(file, report, name)), encoding="utf-8")

    def report(self) -> bool:
        """Print what is wrong and where the files are; True when the books balance."""
        if not self.measured:
            self._console.print("nothing was measured")
            return True
        faults = [fault for part in self.measured.values() for fault in part["book_faults"]]
        for fault in faults:
            self._console.print(fault, style="red", markup=False)
        self._console.print("the books do NOT balance" if faults else "the books balance after each round")
        for name in missed({"parts": self.measured}):
            self._console.print(f"missed: {name}", style="yellow", markup=False)
        self._console.print(f"written: {', '.join(self.measured)}; all of it: {self._folder}", soft_wrap=True)
        return not faults

    def _draw(self, file: Path, report: Mapping[str, Any], name: str) -> Mapping[str, Sequence[str]]:
        """Draw the plots of a part, unless matplotlib is missing; the files of all parts' plots."""
        try:
            from scripts.bench.report.plots import draw_all  # noqa: PLC0415 an extra that a benchmark can do without
        except ImportError:
            self._console.print(_DRAWS)
            return {}
        return draw_all(report, file.with_suffix(""), only=name)
