"""Two replicas of each service as processes, as a cluster has them, in the world of a test's folder.

with replicas(folder) as site:
    site.shop.create(…)         # a call goes to either replica
    site.orders[0].kill()
    site.restart(site.orders[0])
"""

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from inventory_srv.settings import InventorySettings
from order_srv.settings import OrderSettings
from tests.support.consul_server import ConsulServer, consul_server
from tests.support.service_process import Process
from tests.support.services import Services, inventory_settings, order_settings
from tests.support.waiting import wait_until
from tests.support.worlds import world_of

COUNT: Final = 2


@dataclass(frozen=True)
class Replicas:
    """All replicas of one service, seen as one.

    Attributes:
        address: What a client's channel goes to: it takes turns.
    """

    address: str

    @classmethod
    def at(cls, *addresses: str) -> Self:
        """Those at each `host:port`."""
        return cls(f"ipv4:{','.join(addresses)}")


@contextmanager
def calling(folder: Path, inventory: Any, order: Any) -> Iterator[Services]:
    """Calls to whatever has an `address`; the tables are those of `folder`."""
    services = Services(folder, inventory, order)
    try:
        yield services
    finally:
        services.close()


class Site:
    """Replicas of both services.

    Attributes:
        folder: Whose world they are in; each replica works and logs in a folder of its own below it.
        inventories, orders: The processes.
        inventory, order: All of a service as one.
        consul: By which they find each other, in a world that has it.
        shop: Calls both services, taking turns between their replicas.
    """

    def __init__(self, folder: Path, closing: ExitStack) -> None:
        self.folder = folder
        self.inventories: list[Process] = []
        self.orders: list[Process] = []
        self.consul: ConsulServer | None = None
        self._closing = closing
        self._registry: dict[str, str] = {}

    @property
    def processes(self) -> list[Process]:
        return [*self.inventories, *self.orders]

    def start(self, inventory: Mapping[str, Any], order: Mapping[str, Any]) -> None:
        """Start all replicas of each service at once; inventory first, as orders may need its addresses."""
        if world_of(self.folder).has_registry:
            self.consul = self._closing.enter_context(consul_server(self.folder))
            self._registry = {"discovery_url": self.consul.url}
        # Processes that share a file and no Redis would each keep stock for themselves.
        cache = {"cache_url": "none://"} if world_of(self.folder).name == "embedded" else {}
        settings = inventory_settings(self.folder, **self._registry, **cache, **inventory)
        self.inventories = [self._process(f"inventory-{n}", settings) for n in range(1, COUNT + 1)]
        self._start_all(self.inventories)
        self._wait_until_registered("inventory-srv", self.inventories)
        addresses = ",".join(each.address for each in self.inventories)
        of_orders = order_settings(self.folder, addresses, **self._registry, **order)
        self.orders = [self._process(f"order-{n}", of_orders) for n in range(1, COUNT + 1)]
        self._start_all(self.orders)
        self._wait_until_registered("order-srv", self.orders)
        self.inventory, self.order = (
            Replicas.at(*(each.address for each in one)) for one in (self.inventories, self.orders)
        )
        self.shop = self._closing.enter_context(calling(self.folder, self.inventory, self.order))

    def through(self, number: int) -> "AbstractContextManager[Services]":
        """Calls that go to the replicas of this number alone, 0 or 1."""
        return calling(self.folder, self.inventories[number], self.orders[number])

    def restart(self, process: Process) -> None:
        """Start a dead replica again, where it was."""
        process.start_at(process.address)

    def stop(self) -> None:
        """Stop every replica in order, and see that it ended well: orders first, they call inventory."""
        for each in (*self.orders, *self.inventories):
            each.stop()

    def _process(self, name: str, settings: InventorySettings | OrderSettings) -> Process:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        process = Process(folder, settings)
        self._closing.callback(process.kill)
        return process

    def _wait_until_registered(self, service: str, processes: list[Process]) -> None:
        """A replica is ready before its first check has passed, and until then nobody finds it."""
        if self.consul is None:
            return
        consul, expected = self.consul, {each.address for each in processes}
        wait_until(lambda: consul.passing(service) == expected, f"Consul tells {expected}")

    def _start_all(self, processes: list[Process]) -> None:
        with ThreadPoolExecutor(len(processes)) as pool:
            list(pool.map(Process.start, processes))


@contextmanager
def replicas(
    folder: Path, *, inventory: Mapping[str, Any] | None = None, order: Mapping[str, Any] | None = None
) -> Iterator[Site]:
    """A running site; what still runs at the end is killed.

    Args:
        folder: The test's, whose world is known (`tests.support.worlds`).
        inventory, order: Settings over those of `tests.support.services`.
    """
    with ExitStack() as closing:
        site = Site(folder, closing)
        site.start(inventory or {}, order or {})
        yield site
