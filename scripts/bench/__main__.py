"""Starts services, loads them from processes of their own, checks the books, and writes JSON, tables and plots."""

import shutil
import signal
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import grpc
import typer
from rich.console import Console

from common.rpc.errors import to_domain_error
from scripts.bench.harness.loaders import Loaders, LoadFailed
from scripts.bench.harness.testbed import Options, Testbed
from scripts.bench.harness.worlds import CLIENTS, CLUSTER, EMBEDDED, OFFICIAL, WORLDS, World, open_world
from scripts.bench.parts.catalog import PARTS, Part
from scripts.bench.report.output import Output
from scripts.bench.report.report import in_words, is_busy, machine, of_part
from scripts.bench.report.table import console_tables
from scripts.cluster.program import CannotRun
from scripts.lib.services import ServiceFailed, forget_settings
from scripts.lib.signals import leave_in_order_on_signals

_ROOM: Final = Path(".run") / "bench"
_PUBLISHED: Final = Path("docs") / "benchmarks"
_NAMES: Final = [part.name for part in PARTS]

_NOT_ALL_IS_WELL: Final = 1  # exit codes, as a shell has them
_SIGNALLED: Final = 128
_CTRL_C: Final = _SIGNALLED + signal.SIGINT


def bench(  # noqa: PLR0917 the options of a program
    world: Annotated[str, typer.Option(help=f"On what: {' or '.join(WORLDS)}.")] = EMBEDDED,
    only: Annotated[list[str] | None, typer.Option(help=f"A part, of {', '.join(_NAMES)}; again for more.")] = None,
    seconds: Annotated[float, typer.Option(min=0.5, help="How long each load is measured.")] = 2.0,
    rounds: Annotated[int, typer.Option(min=1, help="How often the loads are repeated, in turns.")] = 5,
    callers: Annotated[int, typer.Option(min=1, help="How many sell at once.")] = 64,
    create_callers: Annotated[int, typer.Option(min=1, help="How many create orders at once.")] = 32,
    connections: Annotated[int, typer.Option(min=1, help="Over how many connections they call.")] = 4,
    processes: Annotated[int, typer.Option(min=1, help="How many load processes there are.")] = 1,
    replicas: Annotated[int, typer.Option(min=1, help="How many of each service there are.")] = 1,
    skus: Annotated[int, typer.Option(min=1, help="How many skus there are beside the hot one.")] = 1000,
    due_orders: Annotated[int, typer.Option(min=1, help="How many orders come due at once.")] = 10_000,
    calls: Annotated[int, typer.Option(min=400, help="How many calls each service gets for `memory`.")] = 2_000_000,
    largest: Annotated[int, typer.Option(min=1000, help="How far the curves of growth go.")] = 1_000_000,
    client: Annotated[str, typer.Option(help=f"RocketMQ's client: {' or '.join(CLIENTS)}.")] = OFFICIAL,
    *,
    every: Annotated[bool, typer.Option("--all", help="Every part, those too that else have to be named.")] = False,
    publish: Annotated[bool, typer.Option(help=f"Write to {_PUBLISHED}, the measured parts anew.")] = False,
) -> None:
    """Measure. Exits with 1 when the books do not balance; a missed target is told and is no failure.

    What was measured is written after each part, and stays when the run is ended early.
    """
    _one_of("world", world, WORLDS)
    _one_of("client", client, CLIENTS)
    for name in only or []:
        _one_of("only", name, [part.name for part in PARTS if world in part.worlds])
    wanted = only or [part.name for part in PARTS if every or part.by_default]
    chosen = [part for part in PARTS if world in part.worlds and part.name in wanted]
    if replicas > 1 and world != CLUSTER:
        raise typer.BadParameter(f"only the {CLUSTER} world has several replicas")
    leave_in_order_on_signals()
    forget_settings()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    options = Options(
        seconds, rounds, callers, create_callers, connections, processes, replicas, skus, due_orders, calls, largest
    )
    folder = _PUBLISHED if publish else _ROOM / f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
    name = world if client == OFFICIAL or world != CLUSTER else f"{world}-{client}"  # they are compared, not mixed
    output = Output(console, name, folder, _NAMES)
    code = _measure(console, options, chosen, world, client, output)
    sys.exit(code if output.tell() or code else _NOT_ALL_IS_WELL)


def _one_of(option: str, value: str, known: "list[str] | tuple[str, ...]") -> None:
    if value not in known:
        raise typer.BadParameter(f"--{option} {value}: there is {', '.join(known)}")


def _measure(  # noqa: PLR0917 what its caller has
    console: Console, options: Options, chosen: list[Part], world_name: str, client: str, output: Output
) -> int:
    """Put each part's report into `output` when it is done; the exit code: 0 when all of them are.

    What is wrong is told. A part that fails does not keep the others from being measured; a signal does.
    """
    _ROOM.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="data-", dir=_ROOM)).absolute()  # on a disk: /tmp may be memory

    def say(line: str) -> None:
        console.print(f"  {line}", markup=False)

    def failed(error: Exception) -> None:
        text = str(to_domain_error(error)) if isinstance(error, grpc.RpcError) else str(error)
        console.print(f"{text}\nthe services' data and logs are kept in {folder}", style="red", markup=False)

    code = 0
    try:
        with open_world(world_name, folder / "engines", client, say) as world:
            for part in chosen:
                try:
                    output.add(part.name, _measure_part(console, options, part, world, folder))
                except (ServiceFailed, LoadFailed, grpc.RpcError, RuntimeError) as error:
                    failed(error)
                    code = _NOT_ALL_IS_WELL
    except CannotRun as error:
        failed(error)
        return _NOT_ALL_IS_WELL
    except (KeyboardInterrupt, SystemExit) as error:
        code = error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else _CTRL_C
        console.print(f"ended by {signal.Signals(code - _SIGNALLED).name}", style="red", markup=False)
    left = [part.name for part in chosen if part.name not in output.measured]
    if left:
        console.print(f"not measured: {', '.join(left)}", style="red", markup=False)
    if code != _NOT_ALL_IS_WELL:
        shutil.rmtree(folder)
    return code


def _measure_part(console: Console, options: Options, part: Part, world: World, folder: Path) -> dict[str, Any]:
    facts = machine(world.versions())
    console.print(f"{part.name}: {part.about}", style="bold", markup=False)
    if is_busy(facts):
        console.print(
            f"  others are using this machine (load {facts['load_before']}): expect lower figures", style="yellow"
        )
    began = time.monotonic()
    with (
        Loaders(options.processes) as loaders,
        Testbed(part.name, world, folder, loaders=loaders, console=console, options=options) as testbed,
    ):
        part.run(testbed)
        if part.checks_books:
            testbed.check_books("in the end")
        testbed.note_memory()
    report = of_part(facts, options, time.monotonic() - began, testbed.results)
    for table in console_tables(report, f"{part.name}: {in_words(facts)}"):
        console.print(table)
    return report


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(bench)
    app()
