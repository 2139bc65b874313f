"""Drivers are picked by URL alone: nothing imports one but itself, and each stands in its port's table."""

from collections.abc import Iterator
from functools import cache
from typing import Any

import grimp
import pytest

from common.cache.drivers import CACHES
from common.database.drivers import DATABASES
from common.discovery.drivers import REGISTRIES
from common.driver_table import Drivers
from common.lock.drivers import LOCKS
from common.messaging.drivers import BROKERS

PORTS: dict[str, Drivers[Any]] = {
    "cache": CACHES,
    "database": DATABASES,
    "discovery": REGISTRIES,
    "lock": LOCKS,
    "messaging": BROKERS,
}

# One measures some drivers by themselves, another sets RocketMQ up, and no cache is what a writer without a cache has.
ALLOWED = {
    "scripts.bench": "common",
    "scripts.cluster": "common",
    "inventory_srv.adapters.stock_cache": "common.cache.none",
}


@cache
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("common", "inventory_srv", "order_srv", "scripts")


def driver(opens: str, port: str) -> str:
    """The file or the folder of a driver."""
    module = opens.partition(":")[0]
    parent = module.rpartition(".")[0]
    return module if parent == f"common.{port}" else parent


def drivers() -> Iterator[str]:
    for port, table in PORTS.items():
        yield from sorted({driver(entry.opens, port) for entry in table.table.values()})


def allowed(importer: str, module: str) -> bool:
    return any(importer.startswith(who) and module.startswith(what) for who, what in ALLOWED.items())


def modules_of(name: str) -> set[str]:
    return {name} | graph().find_descendants(name)


@pytest.mark.parametrize("name", list(drivers()))
def test_nothing_imports_a_driver_but_itself(name: str) -> None:
    own = modules_of(name)
    importers = {
        f"{importer} imports {module}"
        for module in own
        for importer in graph().find_modules_that_directly_import(module)
        if importer not in own and not allowed(importer, module)
    }
    assert importers == set()


@pytest.mark.parametrize("port", list(PORTS))
def test_a_port_knows_no_driver_and_no_grpc(port: str) -> None:
    assert (
        graph().find_upstream_modules(f"common.{port}.port")
        & {module for name in drivers() for module in modules_of(name)}
        == set()
    )


@pytest.mark.parametrize("port", list(PORTS))
def test_every_folder_beside_a_port_is_a_driver_of_its_table(port: str) -> None:
    folders = {child for child in graph().find_children(f"common.{port}") if graph().find_children(child)}
    listed = {name for name in drivers() if name.startswith(f"common.{port}.")}
    assert {folder for folder in folders if not any(f"{name}.".startswith(f"{folder}.") for name in listed)} == set()
