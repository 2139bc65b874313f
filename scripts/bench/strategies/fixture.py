"""A strategy of selling as it is measured: a process or two on tables of their own, and what is in those."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil

from common.database import Database
from scripts.bench.harness.worlds import Servers
from scripts.bench.strategies.books import Books
from scripts.bench.strategies.strategy import make_tables, stock_up
from scripts.lib.cpus import cpu_of
from scripts.lib.services import Service

_SERVER: Final = "scripts.bench.strategies.server"
_WRITTEN_WITHIN_S: Final = 60.0
_POLL_S: Final = 0.05


@dataclass(frozen=True, slots=True)
class Tables:
    """What to ask tables, each for units by sku.

    Attributes:
        put: What was stocked; empty: the fixture knows.
        available: What is left.
        sold: What sales were written of.
    """

    put: str
    available: str
    sold: str


OF_REBACK: Final = Tables(
    "SELECT sku, SUM(delta) FROM movement WHERE kind IN ('SET', 'ADJUST') GROUP BY sku",
    "SELECT sku, available FROM stock",
    "SELECT sku, SUM(quantity) FROM sale_line GROUP BY sku",
)
_OF_THE_SMALL: Final = Tables(
    "",
    "SELECT sku, available FROM stock",
    "SELECT sku, SUM(quantity) FROM sale GROUP BY sku",
)


class Fixture:
    """What sells.

    Attributes:
        name: Of `CHOICES`, or `reback`.
        addresses: Where, one a replica.
        processes: Whose processor time is the strategy's.

    Args:
        database_url: Where its tables are.
        tables: What to ask them.
        put: What was stocked, where the tables do not say.
    """

    def __init__(
        self, name: str, addresses: Sequence[str], database_url: str, tables: Tables, put: Mapping[str, int]
    ) -> None:
        self.name = name
        self.addresses = tuple(addresses)
        self.processes = [_process_at(address) for address in addresses]
        self._url = database_url
        self._tables = tables
        self._put = dict(put)

    def processor_seconds(self) -> float:
        """Processor time that its processes have taken so far."""
        times = [each.cpu_times() for each in self.processes]
        return float(sum(taken.user + taken.system for taken in times))

    def books(self, at_least: int = 0) -> Books:
        """What the tables say, once so many units are written in all, or will not be for long: some write later."""
        give_up = time.monotonic() + _WRITTEN_WITHIN_S
        with closing(Database(self._url)) as database, database.reading():
            while True:
                sold = _by_sku(database, self._tables.sold)
                if sum(sold.values()) >= at_least or time.monotonic() > give_up or not self._alive():
                    break
                time.sleep(_POLL_S)
            put = _by_sku(database, self._tables.put) if self._tables.put else self._put
            return Books.of(put, _by_sku(database, self._tables.available), sold)

    def kill(self) -> None:
        """End its processes at once, in the middle of whatever they do."""
        for process in self.processes:
            process.kill()
        while self._alive():
            time.sleep(_POLL_S)

    def _alive(self) -> bool:
        return any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in self.processes)


@contextmanager
def small_fixture(name: str, world: Servers, units: Mapping[str, int], replicas: int) -> Iterator[Fixture]:
    """One of the small strategies on a database and keys of its own, for the length of a `with` block.

    Args:
        name: Of `CHOICES`.
        world: Where the engines are.
        units: What is stocked, by sku.
        replicas: How many processes there are.

    Raises:
        ServiceFailed: One did not start, or did not stop in order.
    """
    folder = world.cluster.folder / "strategies" / f"{name}-{time.time_ns()}"
    folder.mkdir(parents=True)
    url = _new_database(world, folder)
    with closing(Database(url)) as database:
        make_tables(database)
        stock_up(database, units)
    settings = {
        "STRATEGY_NAME": name,
        "STRATEGY_DATABASE_URL": url,
        "STRATEGY_REDIS_URL": world.cluster.redis_url,
        "STRATEGY_PREFIX": f"{folder.name}:",
    }
    services = [
        Service(_SERVER, folder, folder / f"{number}.log", settings | {"STRATEGY_CPU": cpu_of(number)})
        for number in range(replicas)
    ]
    try:
        for service in services:
            service.start()
        fixture = Fixture(name, [service.address for service in services], url, _OF_THE_SMALL, units)
        yield fixture
        for service in services:
            service.stop()
    finally:
        for service in services:
            service.kill()


def _new_database(world: Servers, folder: Path) -> str:
    name = f"strategies_{folder.name.replace('-', '_')}"
    world.run_sql(f"CREATE DATABASE {name}")
    return f"{world.cluster.mysql_url}/{name}"


def _by_sku(database: Database, statement: str) -> dict[str, int]:
    return {sku: int(units) for sku, units in database.execute(statement).fetchall()}


def _process_at(address: str) -> psutil.Process:
    """Who listens there."""
    port = int(address.rpartition(":")[2])
    for connection in psutil.net_connections("tcp"):
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port:
            return psutil.Process(connection.pid)
    raise LookupError(f"nobody listens at {address}")
