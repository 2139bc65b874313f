"""The testbed of a part: services on databases of their own, loads on them, and the results."""

import random
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psutil
from rich.console import Console

from reback.inventory.v1.inventory_pb2 import SetStockRequest
from reback.order.v1.order_pb2 import Goods, PutGoodsRequest
from scripts.bench.harness.books import check_books
from scripts.bench.harness.checkout import HERE, Checkout
from scripts.bench.harness.figures import Figure, Plot, Spread, Target
from scripts.bench.harness.load import Kind, Measured, Plan
from scripts.bench.harness.loaders import Loaders, Loading
from scripts.bench.harness.options import Options
from scripts.bench.harness.replicas import INVENTORY, ORDER, Replicas
from scripts.bench.harness.results import Results
from scripts.bench.harness.worlds import World
from scripts.lib.goods_file import Entry
from scripts.lib.seeding import seed
from scripts.lib.shop import Shop

HOT: Final = "hot"
SOLD_OUT: Final = "sold-out"
_UNUSED_ADDRESS: Final = "ipv4:127.0.0.1:1"  # a channel that is never used is never connected
_PLENTY: Final = 2_000_000_000
_USERS_A_ROUND: Final = 100
_MEGABYTE: Final = 1_000_000
_SERVICE_MEMORY: Final = Target(at_most=200, aim=150)
_WARM_UP_S: Final = 0.5
_WARM_UP_SHARE: Final = 0.25  # of what is measured, at most
_BEGIN_TOGETHER_AFTER_S: Final = 0.7  # until then every one of several load processes has its connections and requests
_MAX_SKUS_OF_A_LOAD: Final = 20_000  # more than it calls in its time; all of a million would take long to send over
_MAX_IN_FLIGHT: Final = 1000  # of an open loop: so many that it does not wait for answers


class Testbed:
    """A context manager that starts services and leaves nothing running.

    Attributes:
        part: The part of the benchmark that it is for.
        world: The engines.
        options: What was chosen.
        results: What was found so far.
        shop: A client of both services; a new one after each restart.
        skus: The skus beside `HOT`, of which there is plenty, and `SOLD_OUT`, of which there is nothing.

    Args:
        part: See above.
        world: See above.
        folder: Where data and logs go; a new one is made in it for all databases that are new.
        loaders: The load processes.
        console: For progress.
        options: See above.
        checkout: Whose code the services run.
        agreed: What this testbed and those that it is compared with do alike, see `agree`; None: it is not compared.
    """

    def __init__(
        self,
        part: str,
        world: World,
        folder: Path,
        *,
        loaders: Loaders,
        console: Console,
        options: Options,
        checkout: Checkout = HERE,
        agreed: dict[str, float] | None = None,
    ) -> None:
        self.part = part
        self.world = world
        self.options = options
        self.results = Results()
        self.skus = tuple(f"sku-{number:05}" for number in range(options.skus))
        self.shop = Shop(_UNUSED_ADDRESS, _UNUSED_ADDRESS)
        self._replicas = Replicas(world, folder / f"{part}{checkout.name}", checkout)
        self._side = checkout.name
        self._agreed = agreed
        self._loaders = loaders
        self._console = console
        self._users = range(1, 1)
        self._plans = 0
        self._checked = -1
        self._sold_directly = 0

    def __enter__(self) -> Self:
        try:
            self.restart(fresh=True)
        except BaseException:
            self._replicas.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.shop.__exit__(None, None, None)
            self.stop()
        finally:
            self._replicas.kill()

    def say(self, text: str) -> None:
        """Print progress."""
        self._console.print(f"{self._side:>5}{text}" if self._side else text, markup=False)

    def figure(
        self,
        name: str,
        value: float | Iterable[float] | Spread,
        unit: str,
        samples: int = 0,
        target: Target | None = None,
    ) -> Figure:
        """Note a figure: a value, one a round, or a spread; `samples`: how many measurements, else how many values."""
        each = (value,) if isinstance(value, (int, float)) else value
        spread = each if isinstance(each, Spread) else Spread.of(each)
        figure = Figure(self.part, name, spread, unit, samples or len(spread.values), target)
        self.results.figures.append(figure)
        return figure

    def plot(self, plot: Plot) -> None:
        """Have something drawn."""
        self.results.plots.append(plot)

    def database_url(self, service: str) -> str:
        """Of the database that `inventory` or `order` has now."""
        return self._replicas.database_url(service)

    @property
    def folder(self) -> Path:
        """Where data and logs of the services are now."""
        return self._replicas.folder

    @property
    def inventories(self) -> tuple[str, ...]:
        """The addresses of the inventory services that serve orders."""
        return self._replicas.addresses(INVENTORY)

    @property
    def orders(self) -> tuple[str, ...]:
        """The addresses of the order services."""
        return self._replicas.addresses(ORDER)

    def started_in(self) -> Mapping[str, float]:
        """Seconds that each service took until it was ready, by its name."""
        return {service.module: service.started_in for service in self._replicas.running}

    def new_users(self, count: int = _USERS_A_ROUND) -> range:
        """So many users who have not ordered yet."""
        self._users = range(1, self._users.stop + count)
        return range(self._users.stop - count, self._users.stop)

    def full_speed(
        self, kind: Kind, skus: Sequence[str] = (), callers: int = 0, users: range | None = None, lines: int = 1
    ) -> Plan:
        """A closed loop of as many callers as were chosen, for the chosen time."""
        usual = self.options.create_callers if kind is Kind.CREATE else self.options.callers
        callers = callers or usual
        return Plan(
            kind,
            tuple(skus),
            self._users_for(kind, users),
            callers,
            min(callers, self.options.connections),
            warm_up=self._warm_up,
            seconds=self.options.seconds,
            lines=lines,
        )

    def paced(
        self, kind: Kind, skus: Sequence[str], rate: float, seconds: float = 0.0, users: range | None = None
    ) -> Plan:
        """An open loop: so many calls a second, each due at its own moment."""
        return replace(
            self.full_speed(kind, skus, users=users),
            rate=rate,
            callers=_MAX_IN_FLIGHT,
            seconds=seconds or self.options.seconds,
            warm_up=0.0 if seconds else self._warm_up,
        )

    def agree(self, what: str, value: float) -> float:
        """The value that all sides of a comparison use in all turns: that of who asks first. Else the same value.

        For the rate of an open loop: how long a call takes, and its processor time, depend on it.
        """
        return value if self._agreed is None else self._agreed.setdefault(what, value)

    def load(self, plan: Plan) -> Measured:
        """Carry out a plan, divided among the load processes; what it says is for all of them together."""
        return self.start_load(plan).result()

    def start_load(self, plan: Plan) -> "Running":
        """The same, without waiting for it."""
        self._plans += 1
        own = set(plan.addresses) <= {service.address for service in self._replicas.running}
        skus = plan.skus
        if len(skus) > _MAX_SKUS_OF_A_LOAD and plan.lines == 1:
            skus = tuple(random.Random(self._plans).sample(skus, _MAX_SKUS_OF_A_LOAD))  # noqa: S311 no secret
        addresses = plan.addresses or (self.orders if plan.kind.asks_order else self.inventories)
        count = min(self.options.processes, plan.callers)
        shares = [
            replace(
                plan,
                skus=skus,
                addresses=addresses,
                key=f"{plan.kind.name.lower()}-{self._plans}-{number}",
                callers=share(plan.callers, number, count),
                connections=max(len(addresses), share(plan.connections, number, count)),
                count=share(plan.count, number, count),
                rate=plan.rate / count,
                begin_at=time.time() + _BEGIN_TOGETHER_AFTER_S if count > 1 else 0.0,
            )
            for number in range(count)
        ]
        return Running(self, plan, self._loaders.start(shares), counts=own)

    def restart(
        self, settings: Mapping[str, str] | None = None, *, inventory: int = 0, order: int = 0, fresh: bool = False
    ) -> None:
        """Stop the services, and start them with other settings.

        Args:
            settings: Variables over those of the world; what was set before is forgotten.
            inventory: How many replicas of it; 0: as many as were chosen.
            order: The same of the order service.
            fresh: On new databases, with the usual skus in them.
        """
        self.stop()
        if fresh:
            self._replicas.new_databases()
            self._users, self._sold_directly = range(1, 1), 0
        self.start(settings, INVENTORY, inventory)
        self.start(settings, ORDER, order)
        if fresh:
            nothing = Entry(_goods(SOLD_OUT), SetStockRequest(sku=SOLD_OUT, quantity=0, reason="bench"))
            seed(self.shop, [nothing, *(_plenty_of(sku) for sku in (HOT, *self.skus))])

    def start(self, settings: Mapping[str, str] | None, service: str, count: int = 0) -> None:
        """Start so many of `inventory` or `order`, which were stopped; see `restart`."""
        self._replicas.start(service, count or self.options.replicas, settings or {})
        self._connect()

    def stop(self, service: str = "") -> None:
        """Stop both services, or only `inventory` or `order`; they finish what they accepted."""
        self._replicas.stop(service)

    @contextmanager
    def replica(self, service: str, settings: Mapping[str, str], *, found: bool = False) -> Iterator[str]:
        """One more `inventory` or `order` on the same databases, for the length of a `with` block; its address.

        Args:
            service: Which.
            settings: Variables of its own.
            found: Whether the others find it; if not, it runs on the CPU of the first one unless its settings name one.
        """
        with self._replicas.one_more(service, settings, found=found) as address:
            yield address

    @contextmanager
    def hung(self, address: str) -> Iterator[None]:
        """Let one of these services hang for the length of a `with` block: it is stopped (SIGSTOP), then goes on.

        Others find it again before this returns.
        """
        with self._replicas.hung(address):
            yield

    def check_books(self, when: str) -> None:
        """Compare the books of everything that happened on these databases; not again when nothing happened since."""
        if self._checked == self._plans:
            return
        self._checked = self._plans
        books = check_books(self.shop, self._users, sold_directly=self._sold_directly)
        self.results.faults += [f"{self.part}, {when}: {fault}" for fault in books.faults]
        states = ", ".join(f"{count:,} {state}" for state, count in sorted(books.orders.items())) or "none"
        verdict = f"{len(books.faults)} FAULTS" if books.faults else "balance"
        self.say(f"  {when}: books {verdict}: {books.skus:,} skus; orders: {states}")

    def processor_seconds(self) -> dict[str, float]:
        """How much processor time has been taken since the programs started.

        Returns:
            Seconds by who: `service`, all services; `engines`, all engines; and each program of both by its name.
        """
        services: dict[str, float] = {}
        for each in self._replicas.running:
            services[each.module] = services.get(each.module, 0.0) + _processor_seconds(psutil.Process(each.pid))
        engines = {name: _processor_seconds(process) for name, process in self.world.engines().items()}
        return {"service": sum(services.values()), "engines": sum(engines.values()), **services, **engines}

    def check_services(self) -> None:
        """See that all services still run.

        Raises:
            ServiceFailed: One died; the text has the last lines of its log.
        """
        self._replicas.check()

    def pids(self) -> Mapping[str, Sequence[int]]:
        """The processes of each service that runs, by its name."""
        found: dict[str, list[int]] = {}
        for service in self._replicas.running:
            found.setdefault(service.module, []).append(service.pid)
        return found

    def resident(self) -> dict[str, int]:
        """Bytes of memory that each service has now, by its name; of several replicas the largest."""
        found: dict[str, int] = {}
        for service in self._replicas.running:
            size: int = psutil.Process(service.pid).memory_info().rss
            found[service.module] = max(size, found.get(service.module, 0))
        return found

    def note_memory(self) -> None:
        """Put among the figures what memory the services have now."""
        for name, size in self.resident().items():
            self.figure(f"{name} resident in the end", size / _MEGABYTE, "MB", target=_SERVICE_MEMORY)

    def sold(self, plan: Plan, answered: int) -> None:
        """Note that a load sold these units without an order."""
        if plan.kind is Kind.SELL and plan.expect.name == "OK":
            self._sold_directly += answered * plan.lines

    @property
    def _warm_up(self) -> float:
        return min(_WARM_UP_S, _WARM_UP_SHARE * self.options.seconds)

    def _connect(self) -> None:
        self.shop.__exit__(None, None, None)
        self.shop = Shop(_all_of(self.inventories), _all_of(self.orders))

    def _users_for(self, kind: Kind, users: range | None) -> range:
        if users is not None or kind is not Kind.CREATE:
            return users or range(1, 2)
        return self.new_users()


class Running:
    """A load that goes on."""

    def __init__(self, testbed: Testbed, plan: Plan, shares: Loading, *, counts: bool) -> None:
        self._testbed = testbed
        self._plan = plan
        self._shares = shares
        self._counts = counts
        self._taken = testbed.processor_seconds()

    def result(self) -> Measured:
        """Wait for the end; what was seen by all of them together."""
        together = Measured()
        for each in self._shares.result():
            together.add(each, one_after_the_other=False)
        for who, seconds in self._testbed.processor_seconds().items():
            together.cpu[who] = seconds - self._taken.get(who, 0.0)
        if self._counts:
            self._testbed.sold(self._plan, together.answered)
        if together.failures:
            self._testbed.say(f"  calls that failed: {dict(together.failures)}")
        return together


def share(whole: int, number: int, count: int) -> int:
    """How much of `whole` number `number` of `count` gets."""
    return whole // count + (number < whole % count)


def _processor_seconds(process: psutil.Process) -> float:
    taken = process.cpu_times()
    return float(taken.user + taken.system)


def _all_of(addresses: Sequence[str]) -> str:
    return f"ipv4:{','.join(addresses)}" if addresses else _UNUSED_ADDRESS


def _goods(sku: str) -> PutGoodsRequest:
    return PutGoodsRequest(goods=Goods(sku=sku, name=f"Bench {sku}", price_cents=100, currency="EUR", on_sale=True))


def _plenty_of(sku: str) -> Entry:
    return Entry(_goods(sku), SetStockRequest(sku=sku, quantity=_PLENTY, reason="bench"))
