"""The replicas of both services on the databases of a part: started, stopped, and found by each other."""

import os
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from scripts.bench.harness.checkout import HERE, Checkout
from scripts.bench.harness.worlds import World
from scripts.lib.cpus import cpu_of_replica
from scripts.lib.services import Service, ServiceFailed

INVENTORY: Final = "inventory"
ORDER: Final = "order"
_FOUND_WITHIN_S: Final = 30.0
_POLL_S: Final = 0.05


class Replicas:
    """Services of one world, at most one set of databases at a time.

    Attributes:
        running: Every service that was started and not stopped.
        folder: Of the present databases.

    Args:
        world: The engines.
        folder: Each set of databases has a folder beside it, with a number after its name; logs go there too.
        checkout: Whose code they run.
    """

    def __init__(self, world: World, folder: Path, checkout: Checkout = HERE) -> None:
        self.running: list[Service] = []
        self._world = world
        self._checkout = checkout
        self._base = folder
        self.folder = folder
        self._number = 0
        self._settings: dict[str, str] = {}
        self._hidden: list[Service] = []

    def new_databases(self) -> None:
        """Have what is started from now on use new ones."""
        self._number += 1
        self.folder = self._base.with_name(f"{self._base.name}{self._number}")
        self.folder.mkdir(parents=True)
        self._settings = dict(self._world.settings(self.folder))

    def database_url(self, service: str) -> str:
        return self._world.database_url(self.folder, service)

    def addresses(self, service: str) -> tuple[str, ...]:
        """Of every replica that others find."""
        return tuple(
            each.address for each in self.running if each.module == f"{service}_srv" and each not in self._hidden
        )

    def start(self, service: str, count: int, settings: Mapping[str, str]) -> None:
        """Start so many replicas, and wait until they are ready and found.

        Raises:
            ServiceFailed: One did not start, or nobody finds it.
            ValueError: This world has one replica of each.
        """
        if count > 1 and not self._world.finds_replicas:
            raise ValueError(f"the {self._world.name} world has one replica of each service")
        for _ in range(count):
            self._start(service, settings)

    def stop(self, service: str = "") -> None:
        """Stop all, or those of one service, in order."""
        stopped = [each for each in reversed(self.running) if each.module.startswith(service)]
        for each in stopped:  # order first: it calls inventory while it finishes
            self.running.remove(each)
            try:
                each.stop()
            finally:
                each.kill()

    def check(self) -> None:
        """Raise ServiceFailed, with the last lines of its log, if one died."""
        for each in self.running:
            each.check()

    def kill(self) -> None:
        """End whatever still runs. Again is harmless."""
        for each in self.running:
            each.kill()
        self.running.clear()

    @contextmanager
    def one_more(self, service: str, settings: Mapping[str, str], *, found: bool) -> Iterator[str]:
        """Another replica with settings of its own; see `Testbed.replica`."""
        nobody = {} if found else {f"{service.upper()}_DISCOVERY_URL": f"static://?inventory-srv={self._inventory()}"}
        replica = self._start(service, {**nobody, **settings}, found=found)
        try:
            yield replica.address
        finally:
            self.running.remove(replica)
            try:
                replica.stop()
            finally:
                replica.kill()

    @contextmanager
    def hung(self, address: str) -> Iterator[None]:
        """Let the replica at this address hang; see `Testbed.hung`."""
        [replica] = [each for each in self.running if each.address == address]
        os.kill(replica.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(replica.pid, signal.SIGCONT)
        self._wait_until_found(replica)

    def _start(self, service: str, settings: Mapping[str, str], *, found: bool = True) -> Service:
        # One that nobody finds is compared with the first one, in turns with it: on the same CPU.
        number = len(self.addresses(service)) if found else 0
        own = {f"{service.upper()}_LISTEN": "127.0.0.1:0", f"{service.upper()}_CPU": cpu_of_replica(service, number)}
        if service == ORDER and not self._world.finds_replicas:
            own["ORDER_DISCOVERY_URL"] = f"static://?inventory-srv={','.join(self.addresses(INVENTORY))}"
        replica = Service(
            f"{service}_srv",
            self.folder,
            self.folder / f"{service}.log",
            {**self._checkout.variables, **self._settings, **own, **settings},
            self._checkout.python,
            f"{self._checkout}: {service}_srv" if self._checkout.name else "",
        )
        self.running.append(replica)
        if not found:
            self._hidden.append(replica)
        replica.start()
        if found:
            self._wait_until_found(replica)
        return replica

    def _wait_until_found(self, replica: Service) -> None:
        give_up = time.monotonic() + _FOUND_WITHIN_S
        while not self._world.finds(replica.module, replica.address):
            replica.check()
            if time.monotonic() > give_up:
                raise ServiceFailed(f"{replica.module} at {replica.address} is ready, but nobody finds it")
            time.sleep(_POLL_S)

    def _inventory(self) -> str:
        return self.addresses(INVENTORY)[0]
