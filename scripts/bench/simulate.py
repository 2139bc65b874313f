"""How many of everything an order rate needs, and what a caller waits, by what the benchmark measured on one machine.

A capacity model: each order asks so much processor time of each kind of program, as measured (`costs.py`); a kind gets
as many as keep each below a share of what it can do. Then orders are sent through queues of those, at random moments,
and their waiting is told. What it leaves out: merging, which gets better with load, and networks that are full.
"""

import heapq
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from scripts.bench.harness.figures import Axis, Plot, Point, Series, percentile
from scripts.bench.parts.costs import CREATE, LOAD, SELL
from scripts.bench.report.report import in_words, read_existing
from scripts.lib.command_line import WrongUsage, run

PUBLISHED: Final = Path("docs") / "benchmarks"
RATES: Final = (300.0, 1_000.0, 3_000.0, 10_000.0, 30_000.0, 100_000.0)
_MICROSECOND: Final = 1e-6
_MS: Final = 1000.0
_ORDERS: Final = 20_000
_SEED: Final = 1
_ROUNDING: Final = 1e-9  # of shares that should be whole numbers
_COMMIT: Final = "MariaDB, p50"
_COMMIT_MS: Final = 1.0  # where it was not measured


@dataclass(frozen=True)
class Costs:
    """Measured, in seconds.

    Attributes:
        order_srv: Processor time of the order service an order.
        inventory_srv: Of the inventory service a sale; so the next three.
        redis: Of Redis a sale.
        inventory_db: Of the database a sale.
        order_db: Of the database an order, without its sale.
        rocketmq: Of the broker an order: half message, end, delayed message.
        load: Of the load generator an order.
        commit: How long a commit takes on the disk.
    """

    order_srv: float
    inventory_srv: float
    redis: float
    inventory_db: float
    order_db: float
    rocketmq: float
    load: float
    commit: float

    @property
    def together(self) -> float:
        """Processor time of an order on a machine that runs everything."""
        services = self.order_srv + self.inventory_srv
        return services + self.redis + self.inventory_db + self.order_db + self.rocketmq + self.load


@dataclass(frozen=True)
class Deployment:
    """What is bought, and what orders are like.

    Attributes:
        lines: Lines an order.
        cores: Of a database's and of a broker's machine.
        share: How busy each program may be.
        hop: Seconds from one machine to another and back.
        service_cores: How many cores a replica can use: Python runs on one at a time.
    """

    lines: int = 1
    cores: int = 8
    share: float = 0.6
    hop: float = 0.0003
    service_cores: float = 1.0


@dataclass(frozen=True)
class Need:
    """So many of one kind.

    Attributes:
        name: Of what.
        count: How many.
        cores: That each can use.
        each: Seconds of processor time that an order asks of the kind in all.
        rate: Orders a second.
    """

    name: str
    count: int
    cores: float
    each: float
    rate: float

    @property
    def busy(self) -> float:
        """The share of its time that each works."""
        return self.rate * self.each / (self.cores * self.count)


def one_machine(costs: Costs, cores: int, *, clients: bool = True) -> float:
    """Orders a second when everything, load generator included, shares these cores, or Python is at its limit."""
    together = costs.together if clients else costs.together - costs.load
    return min(cores / together, 1 / costs.order_srv, 1 / costs.inventory_srv)


def shards_met(shards: int, lines: int) -> float:
    """On how many of `shards` the lines of an order are, when each is on any of them with the same chance."""
    return shards * (1 - (1 - 1 / shards) ** lines)


def needs(costs: Costs, rate: float, deployment: Deployment) -> list[Need]:
    """How many of each kind so many orders a second ask for.

    A stock shard is a database with a Redis and replicas of inventory; each shard that an order meets sells its part.
    """

    def enough(name: str, each: float, cores: float) -> Need:
        count = math.ceil(rate * each / (cores * deployment.share) - _ROUNDING)
        return Need(name, max(1, count), cores, each, rate)

    def stock_shards(met: float) -> list[Need]:
        return [
            enough("stock shards (Redis)", costs.redis * met, 1.0),
            enough("stock shards (MariaDB)", costs.inventory_db * met, deployment.cores),
        ]

    shards = 1
    while shards < max(need.count for need in stock_shards(shards_met(shards, deployment.lines))):
        shards += 1
    met = shards_met(shards, deployment.lines)
    return [
        enough("order_srv", costs.order_srv, deployment.service_cores),
        enough("inventory_srv", costs.inventory_srv * met, deployment.service_cores),
        *(replace(need, count=shards) for need in stock_shards(met)),
        enough("order shards (MariaDB)", costs.order_db, deployment.cores),
        enough("RocketMQ brokers", costs.rocketmq, deployment.cores),
    ]


def limits(costs: Costs, deployment: Deployment) -> dict[str, float]:
    """Up to how many orders a second one of each kind is enough, the lowest first."""
    carried = {need.name: need.cores * deployment.share / need.each for need in needs(costs, 1.0, deployment)}
    return dict(sorted(carried.items(), key=lambda kind: kind[1]))


def waits(
    costs: Costs, found: Sequence[Need], rate: float, deployment: Deployment, orders: int = _ORDERS
) -> list[float]:
    """Seconds that each of some orders takes, sorted: through one queue after the other, first come, first served.

    Its arrivals are at random moments, and what it asks of a program varies as widely as an exponential does.
    """
    chance = random.Random(_SEED)  # noqa: S311 no secret
    moment, began = 0.0, []
    for _ in range(orders):
        moment += chance.expovariate(rate)
        began.append(moment)
    now = began
    for need in found:
        now = _through(now, need, chance)
    # Commits one after the other: the order is written, sold, opened; a hop to each program and back.
    apart = 3 * costs.commit + len(found) * deployment.hop
    return sorted(ended - start + apart for ended, start in zip(now, began, strict=True))


def _through(arrivals: Sequence[float], need: Need, chance: random.Random) -> list[float]:
    """When each leaves a queue that all cores of a kind serve together, in the order of `arrivals`."""
    free = [0.0] * max(1, int(need.count * need.cores))
    left = [0.0] * len(arrivals)
    for index in sorted(range(len(arrivals)), key=arrivals.__getitem__):
        start = max(arrivals[index], heapq.heappop(free))
        left[index] = start + chance.expovariate(1 / need.each)
        heapq.heappush(free, left[index])
    return left


def read_costs(report: Mapping[str, Any]) -> Costs:
    """The medians of a report of the cluster's benchmark.

    Raises:
        ValueError: Its part `costs` was not measured, or found that something costs nothing.
    """
    if "costs" not in report.get("parts", {}):
        raise ValueError(
            "the report has no part costs: measure it by `make bench-cluster ARGS='--only costs --publish'`"
        )
    figures = {figure["name"]: float(figure["value"]["median"]) for figure in report["parts"]["costs"]["figures"]}

    def spent(call: str, program: str) -> float:
        name = f"{call}, {program}"
        if name not in figures:
            raise ValueError(f"the report's part costs has no `{name}`: measure it again")
        if figures[name] <= 0:
            raise ValueError(f"the report's part costs says that `{name}` costs nothing: measure it again")
        return figures[name] * _MICROSECOND

    order_db = spent(CREATE, "mariadb") - spent(SELL, "mariadb")
    if order_db <= 0:
        raise ValueError(
            "the report's part costs says that an order costs the database no more than its sale: measure it again"
        )
    commits = report["parts"].get("commits", {"figures": []})["figures"]
    commit = next((each["value"]["median"] for each in commits if each["name"] == _COMMIT), _COMMIT_MS)
    return Costs(
        order_srv=spent(CREATE, "order_srv"),
        inventory_srv=spent(CREATE, "inventory_srv"),
        redis=spent(CREATE, "redis"),
        inventory_db=spent(SELL, "mariadb"),
        order_db=order_db,
        rocketmq=spent(CREATE, "rocketmq-broker"),
        load=spent(CREATE, LOAD),
        commit=commit / _MS,
    )


def read_measured(report: Mapping[str, Any]) -> float:
    """Orders a second that the same machine created at full speed."""
    figures = {figure["name"]: figure["value"]["median"] for figure in report["parts"]["costs"]["figures"]}
    return float(figures[CREATE])


def simulate(
    report: Annotated[Path, typer.Option(help="What was measured.")] = PUBLISHED / "cluster.json",
    lines: Annotated[int, typer.Option(min=1, help="Lines an order.")] = 1,
    cores: Annotated[int, typer.Option(min=1, help="Of each database's and broker's machine.")] = 8,
    *,
    publish: Annotated[bool, typer.Option(help=f"Draw the curve in {PUBLISHED}.")] = False,
) -> None:
    """Compute what 300 to 100,000 orders a second need, from the measured cost of a call."""
    try:
        known = read_existing(report)
        costs = read_costs(known)
    except ValueError as error:
        raise WrongUsage(f"--report: {error}") from error
    deployment, console = Deployment(lines=lines, cores=cores), Console(highlight=False, width=150)
    machine_cores = known["parts"]["costs"]["machine"]["cores"]
    predicted, measured = one_machine(costs, machine_cores), read_measured(known)
    console.print(
        f"one machine with {machine_cores} cores: predicted {predicted:,.0f} orders a second,"
        f" measured {measured:,.0f} ({predicted / measured - 1:+.0%})"
    )
    table = Table(
        title=f"{lines} lines an order, machines of {cores} cores, each program at most {deployment.share:.0%} busy"
    )
    sized = {rate: needs(costs, rate, deployment) for rate in RATES}
    for heading in ("orders a second", *(need.name for need in sized[RATES[0]]), "busiest", "p50 ms", "p99 ms"):
        table.add_column(heading, justify="right")
    curves: dict[str, list[Point]] = {"p50": [], "p99": []}
    for rate, found in sized.items():
        took = waits(costs, found, rate, deployment)
        p50, p99 = percentile(took, 0.5) * _MS, percentile(took, 0.99) * _MS
        busiest = max(found, key=lambda need: need.busy)
        counts = [f"{need.count:,}" for need in found]
        table.add_row(f"{rate:,.0f}", *counts, f"{busiest.name} {busiest.busy:.0%}", f"{p50:.1f}", f"{p99:.1f}")
        curves["p50"].append(Point(rate, p50))
        curves["p99"].append(Point(rate, p99))
    console.print(table)
    enough = ", ".join(f"{name} {rate:,.0f}" for name, rate in limits(costs, deployment).items())
    console.print(f"one of each is enough for so many orders a second: {enough}")
    if publish:
        _draw(_plots(sized, curves), known["parts"]["costs"]["machine"])


def _plots(sized: Mapping[float, Sequence[Need]], curves: Mapping[str, Sequence[Point]]) -> list[Plot]:
    rate = Axis("orders", "a second", log=True)
    kinds = [need.name for need in next(iter(sized.values()))]
    counts = [
        Series(kind, tuple(Point(rate, found[index].count) for rate, found in sized.items()))
        for index, kind in enumerate(kinds)
    ]
    waiting = [Series(name, tuple(points)) for name, points in curves.items()]
    many, took = Axis("how many", log=True), Axis("CreateOrder", "ms")
    return [
        Plot("scaling-needs", "What an order rate needs, by the model", "lines", rate, many, tuple(counts)),
        Plot("scaling-latency", "How long CreateOrder takes then, by the model", "lines", rate, took, tuple(waiting)),
    ]


def _draw(plots: Sequence[Plot], machine: Mapping[str, Any]) -> None:
    from scripts.bench.report.plots import draw  # noqa: PLC0415 an extra that the model can do without

    for plot in plots:
        draw(asdict(plot), f"model · by costs measured on {in_words(machine)}", PUBLISHED / "model")


if __name__ == "__main__":
    run(simulate)
