"""The local cluster: MariaDB, Redis, RocketMQ, Consul and two replicas of each service as plain processes."""

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer
from rich.table import Table

from scripts.cluster.cluster import Cluster
from scripts.cluster.install.install import install_all
from scripts.cluster.install.packages import CannotInstall
from scripts.cluster.ports import DEFAULT_BASE, Ports, PortTaken
from scripts.cluster.program import CannotRun
from scripts.cluster.services import settings_from_environment
from scripts.cluster.supervision import log_of
from scripts.lib.command_line import make_app, run_app
from scripts.lib.signals import leave_in_order_on_signals
from scripts.lib.terminal import make_console, printable

_FOLDER: Final = Path(".run/cluster")
_SHORT: Final = 20
_NOTE: Final = "ports"  # the file with the base

app = make_app(__doc__)
console = make_console()

Folder = Annotated[Path, typer.Option(help="The cluster's folder.")]
Base = Annotated[
    int | None,
    typer.Option(
        "--ports", envvar="PORTS", help=f"Where its block of ports begins; else as before, or {DEFAULT_BASE}."
    ),
]
EnginesOnly = Annotated[bool, typer.Option("--engines-only", help="Without the services.")]
Broker = Annotated[list[str] | None, typer.Option("--broker", help="NAME=VALUE for RocketMQ's broker; repeatable.")]
Purge = Annotated[bool, typer.Option("--purge", help="Remove its data and logs too.")]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Follow them until Ctrl-C.")]
Names = Annotated[list[str] | None, typer.Argument(help="Which programs; none: all.")]
Lines = Annotated[int, typer.Option("--lines", "-n", help="How many of the last lines.")]


@app.command()
def install() -> None:
    """Install the engines that are missing."""
    install_all(_say)


@app.command()
def up(
    folder: Folder = _FOLDER, base: Base = None, broker: Broker = None, *, engines_only: EnginesOnly = False
) -> None:
    """Start everything that does not run, wait until it is healthy, and print the addresses."""
    began = time.monotonic()
    install_all(_say)
    cluster = _cluster(folder, base, dict(each.partition("=")[::2] for each in broker or []))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _NOTE).write_text(str(base or _base_before(folder)), encoding="utf-8")
    cluster.up(engines_only=engines_only)
    _print_status(cluster, of_all=not engines_only)
    _say(
        f"up in {time.monotonic() - began:.1f} s; `make cluster-logs` shows what they say, `make cluster-down` ends it"
    )


@app.command()
def status(folder: Folder = _FOLDER, base: Base = None) -> None:
    """Show whether each program is healthy; exit with 1 when one is not."""
    if not _print_status(_cluster(folder, base)):
        sys.exit(1)


@app.command()
def down(folder: Folder = _FOLDER, base: Base = None, *, purge: Purge = False) -> None:
    """Stop the services, then the engines, and leave no process behind."""
    _cluster(folder, base).down(purge=purge)
    _say("nothing of the cluster runs" + ("" if purge or not folder.is_dir() else f"; its data is kept in {folder}"))


@app.command()
def logs(names: Names = None, folder: Folder = _FOLDER, *, follow: Follow = False, lines: Lines = _SHORT) -> None:
    """Show the last lines of the programs' logs."""
    files = [log_of(folder, name) for name in names] if names else sorted(folder.glob("logs/*.log"))
    missing = [str(file) for file in files if not file.is_file()]
    if missing or not files:
        _fail(f"there is no {', '.join(missing) or f'log in {folder}'}")
    command = ["tail", f"--lines={lines}", *(["-F"] if follow else []), "--", *map(str, files)]
    os.execvp(command[0], command)  # noqa: S606 - no shell is wanted


@app.command()
def variables(folder: Folder = _FOLDER, base: Base = None) -> None:
    """Print the variables by which the test suites find this cluster's engines, for `export`."""
    cluster = _cluster(folder, base)
    for name, value in {
        "TEST_MYSQL_URL": cluster.mysql_url,
        "TEST_REDIS_URL": cluster.redis_url,
        "TEST_ROCKETMQ_URL": cluster.rocketmq_url,
        "TEST_ROCKETMQ_NAMESERVER": cluster.nameserver,
        "TEST_CONSUL_URL": cluster.consul_url,
    }.items():
        sys.stdout.write(f"{name}={value}\n")


def _cluster(folder: Path, base: int | None, broker: Mapping[str, str] | None = None) -> Cluster:
    settings = settings_from_environment()
    try:
        ports = Ports.block(base or _base_before(folder))
    except ValueError as error:
        _fail(f"PORTS={base}: {error}")
    prefix = settings.get("ORDER_TOPIC_PREFIX", "")
    return Cluster(folder, ports, settings=settings, topic_prefix=prefix, broker=broker, say=_say)


def _base_before(folder: Path) -> int:
    """Where the block of the cluster in this folder begins, so that only `up` needs the option."""
    noted = folder / _NOTE
    return int(noted.read_text(encoding="utf-8")) if noted.is_file() else DEFAULT_BASE


def _print_status(cluster: Cluster, *, of_all: bool = True) -> bool:
    """Print the state of every program, or of those that run; whether all of them are healthy."""
    table = Table("program", "address", "pid", "is", box=None)
    told = [each for each in cluster.status() if of_all or each.pid]
    for each in told:
        table.add_row(each.name, each.address, str(each.pid or ""), printable(each.trouble) or "healthy")
    console.print(table)
    return all(not each.trouble for each in told)


def _say(line: str) -> None:
    console.print(printable(line))


def _fail(text: str) -> NoReturn:
    console.print(printable(text), style="red")
    sys.exit(1)


if __name__ == "__main__":
    leave_in_order_on_signals()  # an install that is ended takes back what it has half done
    try:
        run_app(app)
    except (CannotInstall, CannotRun, PortTaken) as error:
        _fail(str(error))
