"""The options of `python -m scripts.bench`, and which of them go together."""

import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console

from scripts.bench.against.output import ComparisonOutput
from scripts.bench.harness.checkout import CannotCompare, Checkout, other_checkout, this_checkout
from scripts.bench.harness.options import AT_CALLERS, AT_RATES, Options
from scripts.bench.harness.worlds import CLUSTER, EMBEDDED, OFFICIAL, ClientName, WorldName
from scripts.bench.measure import NOT_ALL_IS_WELL, RUNS, Run
from scripts.bench.parts.catalog import PARTS, Part
from scripts.bench.report.output import Output
from scripts.lib.command_line import WrongUsage
from scripts.lib.services import forget_settings
from scripts.lib.signals import leave_in_order_on_signals

_PUBLISHED: Final = Path("docs") / "benchmarks"
_NAMES: Final = [part.name for part in PARTS]


def _usual(values: Sequence[float]) -> str:
    return f"By default {', '.join(f'{value:g}' for value in values)}."


_AtCallers = Annotated[
    list[int] | None, typer.Option(min=1, help=f"Callers of `create`; again for more. {_usual(AT_CALLERS)}")
]
_AtRate = Annotated[
    list[float] | None, typer.Option(min=1, help=f"Orders a second in `paced`; again for more. {_usual(AT_RATES)}")
]


def bench(  # noqa: PLR0917 the options of a program
    world: Annotated[WorldName, typer.Option(help="On what.")] = EMBEDDED,
    only: Annotated[list[str] | None, typer.Option(help=f"A part, of {', '.join(_NAMES)}; again for more.")] = None,
    seconds: Annotated[float, typer.Option(min=0.5, help="How long each load is measured.")] = 2.0,
    rounds: Annotated[int, typer.Option(min=1, help="How often the loads are repeated.")] = 5,
    warm_up: Annotated[float, typer.Option(min=0.5, help="Orders are created for so long before.")] = 20.0,
    callers: Annotated[int, typer.Option(min=1, help="How many sell at once.")] = 64,
    create_callers: Annotated[int, typer.Option(min=1, help="How many create orders at once.")] = 32,
    at_callers: _AtCallers = None,
    at_rate: _AtRate = None,
    connections: Annotated[int, typer.Option(min=1, help="Over how many connections they call.")] = 4,
    processes: Annotated[int, typer.Option(min=1, help="How many load processes there are.")] = 1,
    replicas: Annotated[int, typer.Option(min=1, help="How many of each service there are.")] = 1,
    skus: Annotated[int, typer.Option(min=1, help="How many skus there are beside the hot one.")] = 1000,
    due_orders: Annotated[int, typer.Option(min=1, help="How many orders come due at once.")] = 10_000,
    calls: Annotated[int, typer.Option(min=400, help="How many calls each service gets for `memory`.")] = 2_000_000,
    largest: Annotated[int, typer.Option(min=1000, help="How far the curves of growth go.")] = 1_000_000,
    client: Annotated[ClientName, typer.Option(help="RocketMQ's client.")] = OFFICIAL,
    against: Annotated[str, typer.Option(metavar="REF", help="Compare this checkout with that commit, in turns.")] = "",
    against_python: Annotated[Path | None, typer.Option(help="A Python that can run that commit.")] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Every part, also those not run by default.")] = False,
    publish: Annotated[bool, typer.Option(help=f"Write to {_PUBLISHED}; replaces the measured parts.")] = False,
) -> None:
    """Measure rates, latencies and processor time on services that this starts, and check their books.

    Results are written after each part. The exit code is 1 when a part fails or its books do not balance, 2 when the
    options are wrong. A missed target is reported and is no failure.
    """
    chosen = _chosen(world, only or [], every=every, takes_turns=bool(against))
    _check(world, replicas, against, against_python, publish=publish)
    sizes = {"callers": callers, "create_callers": create_callers, "connections": connections, "processes": processes}
    shop = {"replicas": replicas, "skus": skus, "due_orders": due_orders, "calls": calls, "largest": largest}
    options = Options(
        **sizes,
        **shop,
        seconds=seconds,
        rounds=rounds,
        warm_up=warm_up,
        slow_rounds=rounds if against else 1,
        at_callers=tuple(dict.fromkeys(at_callers or AT_CALLERS)),
        at_rates=tuple(dict.fromkeys(at_rate or AT_RATES)),
    )
    sys.exit(_measure(chosen, options, world, client, against, against_python, publish=publish))


def _measure(  # noqa: PLR0917 the options that say where and what, in their order
    chosen: Sequence[Part],
    options: Options,
    world: WorldName,
    client: ClientName,
    against: str,
    against_python: Path | None,
    *,
    publish: bool,
) -> int:
    """Measure the chosen parts and report them; the exit code."""
    leave_in_order_on_signals()
    forget_settings()
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    name = world if client == OFFICIAL or world != CLUSTER else f"{world}-{client}"  # they are compared, not mixed
    now = f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
    if against:
        checkouts, sides = _checkouts(console, against, against_python)
        folder = RUNS / f"{now}-against-{checkouts[0].commit}"
        output: Output | ComparisonOutput = ComparisonOutput(console, name, folder, sides)
    else:
        checkouts = ()
        output = Output(console, name, _PUBLISHED if publish else RUNS / now, _NAMES)
    code = Run(console, options, world, client, checkouts).measure(chosen, output)
    return code if output.report() or code else NOT_ALL_IS_WELL


def _chosen(world: str, only: Sequence[str], *, every: bool, takes_turns: bool) -> list[Part]:
    """The parts that were named, or those that run when none is."""
    here = [part for part in PARTS if world in part.worlds]
    names = [part.name for part in here]
    for name in only:
        if name not in names:
            raise WrongUsage(f"--only {name}: there is {', '.join(names)}")
    chosen = [part for part in here if part.name in only or (not only and (every or part.by_default))]
    if not takes_turns:
        return chosen
    apart = [part.name for part in chosen if part.name in only and not part.takes_turns]
    if apart:
        able = ", ".join(part.name for part in here if part.takes_turns)
        raise WrongUsage(f"--against can't compare {', '.join(apart)}; it can {able}")
    return [part for part in chosen if part.takes_turns]


def _check(world: str, replicas: int, against: str, python: Path | None, *, publish: bool) -> None:
    """Refuse options that do not go together."""
    if replicas > 1 and (world != CLUSTER or against):
        raise WrongUsage(f"--replicas: only the {CLUSTER} world has several, and not with --against")
    if against and publish:
        raise WrongUsage("--publish: a comparison is not published; it has a folder of its own")
    if python and not against:
        raise WrongUsage("--against-python: there is no --against")
    if python and not python.is_file():
        raise WrongUsage(f"--against-python: there is no file {python}")


def _checkouts(console: Console, ref: str, python: Path | None) -> tuple[Sequence[Checkout], Mapping[str, Any]]:
    """Both sides, the other commit first, and what each of them is: its commit, its code, its Python."""

    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    RUNS.mkdir(parents=True, exist_ok=True)
    try:
        checkouts = [other_checkout(ref, python and python.absolute(), say), this_checkout()]
        return checkouts, {each.name: {"commit": each.commit, **each.probe(RUNS)} for each in checkouts}
    except CannotCompare as error:
        raise WrongUsage(str(error)) from error
