"""Where the benchmark takes place: the services, the load processes, what was measured, and the state of the books."""

import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

import psutil
from rich.console import Console

from reback.inventory.v1.inventory_pb2 import SetStockRequest
from reback.order.v1.order_pb2 import Goods, PutGoodsRequest
from scripts.bench.books import check_books
from scripts.bench.load import Kind, Measured, Plan, be_quiet_on_ctrl_c, drive
from scripts.bench.report import Figure, Target
from scripts.goods_file import Entry
from scripts.seeding import seed
from scripts.services import Service, Services
from scripts.shop import Shop

if TYPE_CHECKING:
    from multiprocessing.pool import AsyncResult

HOT: Final = "hot"
_PLENTY: Final = 2_000_000_000
_USERS_A_PART: Final = 100
_BEGIN_AFTER_S: Final = 0.7  # until then every load process has its connections
_LOAD_PATIENCE_S: Final = 1800.0
_MEGABYTE: Final = 1_000_000
_LARGEST_SERVICE: Final = Target(at_most=150)
_READY_WITHIN: Final = Target(at_most=3)
_OWN_PORTS: Final = {"INVENTORY_LISTEN": "127.0.0.1:0", "ORDER_LISTEN": "127.0.0.1:0"}


@dataclass(frozen=True)
class Options:
    """What can be chosen.

    Attributes:
        seconds: How long each load is measured.
        rounds: How often the loads on stock are repeated; the median counts.
        callers: How many sell at once.
        create_callers: How many create orders at once.
        connections: Over how many connections.
        processes: From how many load processes.
        skus: How many skus there are beside the hot one.
        due_orders: How many orders are due at once.
    """

    seconds: float
    rounds: int
    callers: int
    create_callers: int
    connections: int
    processes: int
    skus: int
    due_orders: int


class Site:
    """A context manager that starts everything and leaves nothing running.

    Attributes:
        options: What was chosen.
        console: Where to tell how it goes.
        figures: What was measured so far.
        faults: What was found wrong in the books; empty when all is well.
        shop: A client of both services; a new one after each restart of the order service.
        skus: The skus beside the hot one.
        sold_directly: How many units were sold without an order so far.
        create_rate: How many orders a second can be created; 0 until it was measured.
    """

    def __init__(self, folder: Path, console: Console, options: Options) -> None:
        self.options = options
        self.console = console
        self.figures: list[Figure] = []
        self.faults: list[str] = []
        self.skus = tuple(f"sku-{number:05}" for number in range(options.skus))
        self.sold_directly = 0
        self.create_rate = 0.0
        self._services = Services(folder, _OWN_PORTS)
        self._pool = get_context("spawn").Pool(options.processes, initializer=be_quiet_on_ctrl_c)
        self._open = ExitStack()
        self._users = range(1, 1)
        self._plans = 0
        self._memory: dict[str, list[int]] = {"inventory": [], "order": []}

    def __enter__(self) -> Self:
        self._open.enter_context(self._pool)  # leaving it ends the load processes, in the middle of whatever they do
        self._open.enter_context(self._services)
        try:
            self._connect()
            seed(self.shop, [_plenty_of(sku) for sku in (HOT, *self.skus)])
        except BaseException:
            self._open.close()
            raise
        inventory, order = self._services.inventory.started_in, self._services.order.started_in
        self.add(Figure("start", "inventory ready in", inventory, "s", 1))
        self.add(Figure("start", "order ready in", order, "s", 1))
        self.add(Figure("start", "both ready, one after the other", inventory + order, "s", 1, _READY_WITHIN))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shop.__exit__(kind, error, trace)
        self._open.__exit__(kind, error, trace)

    def say(self, text: str) -> None:
        """Tell how it goes."""
        self.console.print(text, markup=False)

    def add(self, figure: Figure) -> None:
        """Note a figure."""
        self.figures.append(figure)

    def new_users(self, count: int = _USERS_A_PART) -> range:
        """So many users who have not ordered yet."""
        self._users = range(1, self._users.stop + count)
        return range(self._users.stop - count, self._users.stop)

    def load(self, plan: Plan) -> Measured:
        """Carry out a plan, divided among the load processes; what it says is for all of them together."""
        return self.start_load(plan).result()

    def start_load(self, plan: Plan) -> "Running":
        """The same, without waiting for it."""
        self._plans += 1
        begin_at = time.time() + _BEGIN_AFTER_S
        count = self.options.processes
        parts = [
            replace(
                plan,
                address=self._address_of(plan.kind),
                key=f"{plan.kind.name.lower()}-{self._plans}-{number}",
                callers=share(plan.callers, number, count),
                connections=max(1, share(plan.connections, number, count)),
                count=share(plan.count, number, count),
                rate=plan.rate / count,
                begin_at=begin_at,
            )
            for number in range(count)
        ]
        return Running(self, plan.kind, self._pool.map_async(drive, parts, chunksize=1))

    def restart_order(self, settings: Mapping[str, str]) -> None:
        """Stop the order service, and start it with other settings."""
        self.stop_order()
        self.start_order(settings)

    def stop_order(self) -> None:
        self.shop.__exit__(None, None, None)
        self._services.stop_order()

    def start_order(self, settings: Mapping[str, str]) -> None:
        self._services.start_order(settings)
        self._connect()

    def check_books(self, part: str) -> None:
        """Note the memory that the services have by now, and compare the books."""
        for name, service in self._running():
            self._memory[name].append(psutil.Process(service.pid).memory_info().rss)
        books = check_books(self.shop, self._users, sold_directly=self.sold_directly)
        self.faults += [f"{part}: {fault}" for fault in books.faults]
        states = ", ".join(f"{count:,} {state}" for state, count in sorted(books.orders.items())) or "none"
        verdict = f"{len(books.faults)} FAULTS" if books.faults else "balance"
        self.say(f"  books {verdict}: {books.skus:,} skus; orders: {states}")

    def processor_seconds(self) -> dict[str, float]:
        """How much processor time each service has taken since it started."""
        times = {name: psutil.Process(service.pid).cpu_times() for name, service in self._running()}
        return {name: taken.user + taken.system for name, taken in times.items()}

    def add_memory(self) -> None:
        """Note the most memory that each service was seen with."""
        for name, seen in self._memory.items():
            if seen:
                value = max(seen) / _MEGABYTE
                self.add(Figure("memory", f"{name}, resident, most seen", value, "MB", len(seen), _LARGEST_SERVICE))

    def _running(self) -> tuple[tuple[str, Service], ...]:
        return ("inventory", self._services.inventory), ("order", self._services.order)

    def _connect(self) -> None:
        self.shop = Shop(self._services.inventory.address, self._services.order.address)

    def _address_of(self, kind: Kind) -> str:
        return self._services.order.address if kind is Kind.CREATE else self._services.inventory.address


class Running:
    """A load that goes on."""

    def __init__(self, site: Site, kind: Kind, parts: "AsyncResult[list[Measured]]") -> None:
        self._site = site
        self._kind = kind
        self._parts = parts

    def ended(self) -> bool:
        """Whether every load process is done."""
        return self._parts.ready()

    def result(self) -> Measured:
        """Wait for the end; what was seen by all of them together."""
        together = Measured()
        for part in self._parts.get(_LOAD_PATIENCE_S):
            together.add(part, one_after_the_other=False)
        if self._kind is Kind.SELL:
            self._site.sold_directly += together.answered
        if together.failures:
            self._site.say(f"  calls that failed: {dict(together.failures)}")
        return together


def share(whole: int, number: int, count: int) -> int:
    """How much of `whole` number `number` of `count` gets."""
    return whole // count + (number < whole % count)


def _plenty_of(sku: str) -> Entry:
    goods = Goods(sku=sku, name=f"Bench {sku}", price_cents=100, currency="EUR", on_sale=True)
    return Entry(PutGoodsRequest(goods=goods), SetStockRequest(sku=sku, quantity=_PLENTY, reason="bench"))
