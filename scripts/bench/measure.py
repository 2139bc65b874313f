"""A run of the benchmark: each part on its services, one after the other, on this checkout or in turns on two."""

import shutil
import signal
import tempfile
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import grpc
from rich.console import Console

from common.rpc.errors import to_domain_error
from scripts.bench.against.comparison import NEW, OLD, compared
from scripts.bench.against.tables import grids
from scripts.bench.against.turns import measure_in_turns
from scripts.bench.harness.checkout import Checkout
from scripts.bench.harness.loaders import Loaders, LoadFailed
from scripts.bench.harness.options import Options
from scripts.bench.harness.testbed import Testbed
from scripts.bench.harness.worlds import World, open_world
from scripts.bench.parts.catalog import Part
from scripts.bench.report.report import in_words, is_busy, machine, of_part
from scripts.bench.report.table import console_table, console_tables
from scripts.cluster.program import CannotRun
from scripts.lib.services import ServiceFailed

RUNS: Final = Path(".run") / "bench"
"""Where data, logs and reports of runs are."""

NOT_ALL_IS_WELL: Final = 1  # exit codes, as a shell has them
_SIGNALLED: Final = 128
_CTRL_C: Final = _SIGNALLED + signal.SIGINT


class Output(Protocol):
    """Where what was measured goes.

    Attributes:
        measured: The parts that it was given, by name.
    """

    measured: dict[str, Mapping[str, Any]]

    def add(self, name: str, part: Mapping[str, Any]) -> None:
        """Write a part."""


@dataclass(frozen=True)
class Run:
    """How a run measures.

    Attributes:
        console: For progress.
        options: What was chosen.
        world: On what: `embedded` or `cluster`.
        client: Of RocketMQ.
        checkouts: The sides of a comparison; none: this checkout alone is measured.
    """

    console: Console
    options: Options
    world: str
    client: str
    checkouts: Sequence[Checkout] = ()

    def measure(self, chosen: Sequence[Part], output: Output) -> int:
        """Put each part's report into `output` when it is done; the exit code: 0 when all of them are.

        Errors are printed. After a part that fails the next one is measured; a signal ends the run.
        """
        RUNS.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="data-", dir=RUNS)).absolute()  # on a disk: /tmp may be memory
        code = 0
        try:
            with open_world(
                self.world, folder / "engines", self.client, self._say, registry=not self.checkouts
            ) as world:
                for part in chosen:
                    try:
                        output.add(part.name, self._part(part, world, folder))
                    except (ServiceFailed, LoadFailed, grpc.RpcError, RuntimeError) as error:
                        self._failed(error, folder)
                        code = NOT_ALL_IS_WELL
        except CannotRun as error:
            self._failed(error, folder)
            return NOT_ALL_IS_WELL
        except (KeyboardInterrupt, SystemExit) as error:
            code = error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else _CTRL_C
            self.console.print(f"ended by {signal.Signals(code - _SIGNALLED).name}", style="red", markup=False)
        left = [part.name for part in chosen if part.name not in output.measured]
        if left:
            self.console.print(f"not measured: {', '.join(left)}", style="red", markup=False)
        if code != NOT_ALL_IS_WELL:
            shutil.rmtree(folder)
        return code

    def _say(self, line: str) -> None:
        self.console.print(f"  {line}", markup=False)

    def _failed(self, error: Exception, folder: Path) -> None:
        text = str(to_domain_error(error)) if isinstance(error, grpc.RpcError) else str(error)
        self.console.print(f"{text}\nthe services' data and logs are kept in {folder}", style="red", markup=False)

    def _part(self, part: Part, world: World, folder: Path) -> dict[str, Any]:
        facts = machine(world.versions())
        self.console.print(f"{part.name}: {part.about}", style="bold", markup=False)
        if is_busy(facts):
            busy = f"  others are using this machine (load {facts['load_before']}): expect lower figures"
            self.console.print(busy, style="yellow")
        with Loaders(self.options.processes) as loaders:
            if self.checkouts:
                return self._in_turns(part, world, folder, loaders, facts)
            return self._alone(part, world, folder, loaders, facts)

    def _alone(
        self, part: Part, world: World, folder: Path, loaders: Loaders, facts: Mapping[str, Any]
    ) -> dict[str, Any]:
        began = time.monotonic()
        with Testbed(part.name, world, folder, loaders=loaders, console=self.console, options=self.options) as testbed:
            deque(part.run(testbed) or (), maxlen=0)
            if part.checks_books:
                testbed.check_books("in the end")
            testbed.note_memory()
        report = of_part(facts, self.options, time.monotonic() - began, testbed.results)
        for table in console_tables(report, f"{part.name}: {in_words(facts)}"):
            self.console.print(table)
        return report

    def _in_turns(
        self, part: Part, world: World, folder: Path, loaders: Loaders, facts: Mapping[str, Any]
    ) -> dict[str, Any]:
        began = time.monotonic()
        results = measure_in_turns(
            part, self.checkouts, world, folder, loaders=loaders, console=self.console, options=self.options
        )
        took = time.monotonic() - began
        sides = {name: of_part(facts, self.options, took, found) for name, found in results.items()}
        report = {
            "machine": dict(facts),
            "options": asdict(self.options),
            "took_seconds": round(took, 1),
            "compared": compared(sides[NEW], sides[OLD]),
        }
        for grid in grids(report):
            self.console.print(console_table(f"{part.name}: {grid.title}", grid.headings, grid.rows))
        return report
