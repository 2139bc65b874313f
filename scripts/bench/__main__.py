"""Starts both services, loads them from processes of their own, checks the books, prints a table and writes JSON."""

import shutil
import sys
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import grpc
import typer
from rich.console import Console

from common.rpc.errors import to_domain_error
from scripts.bench.parts import PARTS
from scripts.bench.report import machine, table, tell_machine, write_json
from scripts.bench.site import Options, Site
from scripts.services import ServiceFailed, forget_settings, leave_in_order_on_signals

_ROOM: Final = Path(".run") / "bench"


def bench(  # noqa: PLR0917 the options of a program
    only: Annotated[list[str] | None, typer.Option(help=f"A part, of {', '.join(PARTS)}; again for more.")] = None,
    seconds: Annotated[float, typer.Option(min=0.5, help="How long each load is measured.")] = 5.0,
    rounds: Annotated[int, typer.Option(min=1, help="How often the loads on stock are repeated.")] = 3,
    callers: Annotated[int, typer.Option(min=1, help="How many sell at once.")] = 64,
    create_callers: Annotated[int, typer.Option(min=1, help="How many create orders at once.")] = 16,
    connections: Annotated[int, typer.Option(min=1, help="Over how many connections they call.")] = 4,
    processes: Annotated[int, typer.Option(min=1, help="How many load processes there are.")] = 1,
    skus: Annotated[int, typer.Option(min=1, help="How many skus there are beside the hot one.")] = 1000,
    due_orders: Annotated[int, typer.Option(min=1, help="How many orders come due at once.")] = 10_000,
) -> None:
    """Measure. Exits with 1 when the books do not balance; a missed target is told and is no failure."""
    chosen = only or list(PARTS)
    unknown = [name for name in chosen if name not in PARTS]
    if unknown:
        raise typer.BadParameter(f"there is no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    leave_in_order_on_signals()
    forget_settings()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    options = Options(seconds, rounds, callers, create_callers, connections, processes, skus, due_orders)
    sys.exit(_measure(console, options, chosen))


def _measure(console: Console, options: Options, chosen: list[str]) -> int:
    facts = machine()
    tell_machine(console, facts)
    _ROOM.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="data-", dir=_ROOM)).absolute()  # on a disk: /tmp may be memory
    try:
        console.print(f"starting both services, putting {options.skus:,} skus in …")
        with Site(folder, console, options) as site:
            for name in PARTS:
                if name in chosen:
                    console.print(f"{name}: {_first_line(PARTS[name].__doc__)}")
                    PARTS[name](site)
                    site.check_books(name)
            site.add_memory()
    except (ServiceFailed, grpc.RpcError, RuntimeError) as error:
        text = str(to_domain_error(error)) if isinstance(error, grpc.RpcError) else str(error)
        console.print(f"{text}\nthe services' data and logs are kept in {folder}", style="red", markup=False)
        return 1
    shutil.rmtree(folder)
    report = _ROOM / f"{datetime.now(UTC):%Y%m%d-%H%M%S}.json"
    write_json(report, facts, asdict(options), site.figures, site.faults)
    console.print(table(site.figures))
    for fault in site.faults:
        console.print(fault, style="red", markup=False)
    console.print("the books do NOT balance" if site.faults else "the books balance after each part")
    console.print(f"the same as JSON: {report}", soft_wrap=True)
    return 1 if site.faults else 0


def _first_line(text: str | None) -> str:
    return (text or "").partition("\n")[0]


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(bench)
    app()
