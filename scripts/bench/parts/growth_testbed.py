"""Where growth is measured: each size has services and databases of its own on the same engines, all up at once.

So two sizes are loaded one right after the other, round by round, and what else the machine does meets both.
"""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import psutil

from common.database import Database
from scripts.bench.harness.load import Kind, Measured, Plan
from scripts.bench.harness.loaders import Loaders
from scripts.bench.harness.prefill import Prefill
from scripts.bench.harness.recorder import Recorder
from scripts.bench.harness.testbed import Testbed, share
from scripts.bench.harness.worlds import World
from scripts.lib.books import audit
from scripts.lib.cpus import cpu_of_replica
from scripts.lib.services import Service
from scripts.lib.shop import Shop

_RUNS: Final = Path(".run") / "bench"
_BEGIN_TOGETHER_AFTER_S: Final = 1.5  # until then every one of several load processes has its connections and requests
_SERVED: Final = "127.0.0.1:0"
_UNITS_OF_ORDERS: Final = (
    "SELECT SUM(order_line.quantity) FROM orders JOIN order_line ON order_line.order_sn = orders.order_sn"
    " WHERE orders.state IN ('UNPAID', 'PAID', 'FINISHED')"
)
_UNITS_SOLD: Final = "SELECT SUM(sold) FROM stock"
_MOVING: Final = (
    "SELECT COUNT(*) FROM orders WHERE state = 'CREATING'"
    " UNION ALL SELECT COUNT(*) FROM orders WHERE return_due IS NOT NULL"
)
_SETTLED_WITHIN_S: Final = 120.0
_LOOK_EVERY_S: Final = 0.5
_MICROSECONDS: Final = 1e6


class Place:
    """Both services on databases of their own; a context manager that leaves no process behind.

    Attributes:
        folder: Where they run.
        inventory, order: Their databases, for what has no RPC.
        prefill: What puts rows into them.
        shop: A client of both services.

    Args:
        world: The engines.
        folder: A new one.
        replicas: How many of each service.
        settings: Variables for the services.
    """

    def __init__(self, world: World, folder: Path, *, replicas: int, settings: Mapping[str, str]) -> None:
        self.folder = folder
        self._world = world
        self._replicas = replicas
        self._more_settings = settings
        self._open = ExitStack()
        self._services: dict[str, list[Service]] = {"inventory_srv": [], "order_srv": []}
        self._sold_directly = 0

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True)
        with ExitStack() as opening:
            opening.callback(self._kill_all)
            settings = {**self._world.settings(self.folder), **self._more_settings}
            for _ in range(self._replicas):
                self._start("inventory_srv", settings)
            # Not the world's registry: each place calls its own inventory.
            found = ",".join(self.addresses(Kind.SELL))
            settings["ORDER_DISCOVERY_URL"] = settings["INVENTORY_DISCOVERY_URL"] = f"static://?inventory-srv={found}"
            for _ in range(self._replicas):
                self._start("order_srv", settings)
            self.inventory = self._database(opening, "inventory")
            self.order = self._database(opening, "order")
            self.prefill = Prefill(self.inventory, self.order)
            inventories, orders = self.addresses(Kind.SELL), self.addresses(Kind.CREATE)
            self.shop = opening.enter_context(Shop(f"ipv4:{','.join(inventories)}", f"ipv4:{','.join(orders)}"))
            self._open = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                for service in [*self._services["order_srv"], *self._services["inventory_srv"]]:
                    service.stop()
        finally:
            self._open.__exit__(kind, error, trace)

    def addresses(self, kind: Kind) -> Sequence[str]:
        """Of the replicas of the service that is called."""
        module = "order_srv" if kind.asks_order else "inventory_srv"
        return tuple(service.address for service in self._services[module])

    def pids(self) -> Mapping[str, Sequence[int]]:
        """The processes of each service."""
        return {module: [service.pid for service in services] for module, services in self._services.items()}

    @staticmethod
    def timed(work: Callable[[], None]) -> float:
        """Seconds that something took."""
        began = time.monotonic()
        work()
        return time.monotonic() - began

    def sold(self, kind: Kind, units: int) -> None:
        """Note that a load sold so many units without an order."""
        self._sold_directly += units if kind is Kind.SELL else 0

    def faults(self) -> list[str]:
        """What is wrong in the books once nothing moves any more; empty when all is well."""
        deadline = time.monotonic() + _SETTLED_WITHIN_S
        while any(count for (count,) in _rows(self.order, _MOVING)) and time.monotonic() < deadline:
            time.sleep(_LOOK_EVERY_S)
        faults = [f"stock, sales and movements differ: {each}" for each in audit(self.shop.inventory).differences]
        ((sold,),), ((held,),) = _rows(self.inventory, _UNITS_SOLD), _rows(self.order, _UNITS_OF_ORDERS)
        without_order = self._sold_directly + self.prefill.sold_without_order
        if int(sold or 0) != int(held or 0) + without_order:
            faults.append(f"{sold} units are sold, but orders hold {held} and {without_order} were sold without one")
        return faults

    def _start(self, module: str, settings: Mapping[str, str]) -> None:
        number = len(self._services[module]) + 1
        log = self.folder / f"{module}-{number}.log"
        kind = module.removesuffix("_srv")  # the same CPUs in every place
        own = {f"{kind.upper()}_LISTEN": _SERVED, f"{kind.upper()}_CPU": cpu_of_replica(kind, number - 1)}
        service = Service(module, self.folder, log, {**own, **settings})
        self._services[module].append(service)
        service.start()

    def _database(self, opening: ExitStack, service: str) -> Database:
        database = Database(self._world.database_url(self.folder, service), connections=2)
        opening.callback(database.close)
        return database

    def _kill_all(self) -> None:
        for services in self._services.values():
            for service in services:
                service.kill()


class GrowthTestbed:
    """The places of one part, and what loads them; a context manager that checks the books of each in the end.

    Args:
        testbed: Where figures and faults are noted; its world is where the places are.
        settings: Variables for the services of every place.
    """

    def __init__(self, testbed: Testbed, settings: Mapping[str, str] | None = None) -> None:
        self._testbed = testbed
        self._settings = settings or {}
        self._open = ExitStack()
        self._places: dict[str, Place] = {}
        self._loads = 0

    def __enter__(self) -> Self:
        with ExitStack() as opening:
            _RUNS.mkdir(parents=True, exist_ok=True)
            room = opening.enter_context(tempfile.TemporaryDirectory(prefix="growth-", dir=_RUNS))
            self._room = Path(room).absolute()
            self._loaders = Loaders(self._testbed.options.processes)
            opening.enter_context(self._loaders)
            self._open = opening.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                for name, place in self._places.items():
                    self._check(name, place)
        finally:
            self._open.__exit__(kind, error, trace)

    def place(self, name: str, *, replicas: int = 1) -> Place:
        """Both services on new databases, until the end."""
        folder = self._room / f"{self._room.name.replace('-', '_')}_{name}"
        place = Place(self._testbed.world, folder, replicas=replicas, settings=self._settings)
        self._places[name] = self._open.enter_context(place)
        return place

    def measure(self, recorder: Recorder, name: str, place: Place, plan: Plan) -> None:
        """Load a place at full speed and note what was seen, and what it cost services and engines.

        Raises:
            RuntimeError: Calls failed: growth is no reason to.
        """
        before = self._processor_seconds(place)
        measured = self._load(place, plan)
        for who, seconds in self._processor_seconds(place).items():
            measured.cpu[who] = seconds - before[who]
        if measured.failures:
            raise RuntimeError(f"calls failed: {name}: {dict(measured.failures)}")
        recorder.take(name, plan.how, measured)
        cost = (measured.cpu["service"] + measured.cpu["engines"]) / measured.calls * _MICROSECONDS
        recorder.note(cost_of(name), cost)
        self._testbed.say(f"  {name}: {measured.rate:,.0f} a second, {cost:,.0f} µs of processor time a call")

    def _processor_seconds(self, place: Place) -> dict[str, float]:
        """What the services of a place and the engines have taken so far."""
        services = [psutil.Process(pid) for pids in place.pids().values() for pid in pids]
        found = {"service": services, "engines": list(self._testbed.world.engines().values())}
        return {who: sum(map(_seconds, processes)) for who, processes in found.items()}

    def _load(self, place: Place, plan: Plan) -> Measured:
        self._loads += 1
        count = self._testbed.options.processes
        begin_at = time.time() + _BEGIN_TOGETHER_AFTER_S if count > 1 else 0.0
        parts = [
            replace(
                plan,
                addresses=tuple(place.addresses(plan.kind)),
                key=f"{plan.kind.name.lower()}-{self._loads}-{number}",
                callers=share(plan.callers, number, count),
                connections=max(len(place.addresses(plan.kind)), share(plan.connections, number, count)),
                begin_at=begin_at,
            )
            for number in range(count)
        ]
        together = Measured()
        for measured in self._loaders.start(parts).result():
            together.add(measured, one_after_the_other=False)
        place.sold(plan.kind, together.answered * plan.lines)
        return together

    def _check(self, name: str, place: Place) -> None:
        faults = place.faults()
        self._testbed.results.faults += [f"{self._testbed.part}, {name}: {fault}" for fault in faults]
        self._testbed.say(f"  {name}: books {f'{len(faults)} FAULTS' if faults else 'balance'}")


def cost_of(name: str) -> str:
    """The name of what a call of a load cost services and engines, in microseconds of processor time."""
    return f"{name}: processor time a call"


def _seconds(process: psutil.Process) -> float:
    taken = process.cpu_times()
    return float(taken.user + taken.system)


def _rows(database: Database, statement: str) -> list[tuple[int, ...]]:
    with database.reading():
        rows: list[tuple[int, ...]] = database.execute(statement).fetchall()
        return rows
