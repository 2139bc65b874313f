"""The engines under the services that are measured: embedded ones in files, or servers of the benchmark's own."""

from collections.abc import Callable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Protocol
from urllib.parse import urlsplit

import psutil
import pymysql
import redis

from common.driver_url import file_url
from inventory_srv.bootstrap import SERVICE as INVENTORY_SERVICE
from order_srv.bootstrap import SERVICE as ORDER_SERVICE
from scripts.cluster.cluster import Cluster
from scripts.cluster.engines import consul, mariadb, rocketmq
from scripts.cluster.engines.redis import NAME as REDIS
from scripts.cluster.install.engine_cache import CONSUL_VERSION, ROCKETMQ_VERSION
from scripts.cluster.ports import Ports
from scripts.cluster.topics import make_topics

if TYPE_CHECKING:
    from collections.abc import Iterator

WorldName = Literal["embedded", "cluster"]
EMBEDDED: Final = "embedded"
CLUSTER: Final = "cluster"
WORLDS: Final = (EMBEDDED, CLUSTER)

ClientName = Literal["rocketmq", "rocketmq-native"]
OFFICIAL: Final = "rocketmq"
NATIVE: Final = "rocketmq-native"

_REGISTERED: Final = {"inventory_srv": INVENTORY_SERVICE, "order_srv": ORDER_SERVICE}
_SERVICES: Final = ("inventory", "order")
_PROGRAMS: Final = (mariadb.NAME, REDIS, rocketmq.NAMESERVER, rocketmq.BROKER, consul.NAME)


class World(Protocol):
    """The engines under the services.

    Attributes:
        name: `embedded` or `cluster`.
        finds_replicas: Whether services find each other by themselves, and there may be more than one of each.
    """

    name: str
    finds_replicas: bool

    def settings(self, folder: Path) -> Mapping[str, str]:
        """Variables by which both services find databases and topics that are new, and nobody else's.

        Args:
            folder: Where the services will run; a new one each time.
        """

    def database_url(self, folder: Path, service: str) -> str:
        """The URL of the database that `inventory` or `order` has in that folder."""

    def broker(self, folder: Path) -> tuple[str, str]:
        """The URL of the broker that services in that folder use, and the prefix of their topics."""

    def finds(self, module: str, address: str) -> bool:
        """Whether others find this replica of `inventory_srv` or `order_srv`."""

    def engines(self) -> Mapping[str, psutil.Process]:
        """The engines' processes by name; nobody where they are part of the services."""

    def versions(self) -> Mapping[str, str]:
        """Of the engines, by name."""


class Embedded:
    """SQLite, and a broker in a file: the services' defaults, in the folder where they run."""

    name = EMBEDDED
    finds_replicas = False

    def settings(self, folder: Path) -> Mapping[str, str]:
        urls = {f"{service.upper()}_DATABASE_URL": self.database_url(folder, service) for service in _SERVICES}
        broker, _ = self.broker(folder)
        return urls | {f"{service.upper()}_BROKER_URL": broker for service in _SERVICES}

    def broker(self, folder: Path) -> tuple[str, str]:
        return file_url("embedded", folder / "broker.db"), ""

    def database_url(self, folder: Path, service: str) -> str:
        return file_url("sqlite", folder / f"{service}.db")

    def finds(self, module: str, address: str) -> bool:  # noqa: ARG002 order is configured with the address of inventory
        return True

    def engines(self) -> Mapping[str, psutil.Process]:
        return {}

    def versions(self) -> Mapping[str, str]:
        return {}


class Servers:
    """MariaDB, Redis, RocketMQ and Consul as processes, which nobody else uses.

    Attributes:
        cluster: They, and how they are reached.
        client: RocketMQ's client that the services use, `rocketmq` or `rocketmq-native`.

    Args:
        cluster: It runs, without services.
        client: See above.
        registry: Whether services find each other by Consul; else each order service is configured with its
            inventories, so that two sets of services on the same engines do not find each other.
    """

    name = CLUSTER

    def __init__(self, cluster: Cluster, client: str, *, registry: bool = True) -> None:
        self.cluster = cluster
        self.client = client
        self.finds_replicas = registry
        self._processes = {name: psutil.Process(cluster.pid(name)) for name in _PROGRAMS}

    @property
    def broker_url(self) -> str:
        """Of RocketMQ, for the client that was chosen."""
        if self.client == NATIVE:
            return f"{NATIVE}://{self.cluster.nameserver}"
        return f"{self.cluster.rocketmq_url}?nameserver={self.cluster.nameserver}"

    def settings(self, folder: Path) -> Mapping[str, str]:
        broker, prefix = self.broker(folder)
        for service in _SERVICES:
            self.run_sql(f"CREATE DATABASE `{_database(folder, service)}`")
        make_topics(self.cluster.ports, prefix)
        both = {"BROKER_URL": broker, "TOPIC_PREFIX": prefix, "LOG_FORMAT": "json"}
        if self.finds_replicas:
            both["DISCOVERY_URL"] = self.cluster.consul_url
        found = {f"{service.upper()}_{name}": value for service in _SERVICES for name, value in both.items()}
        urls = {f"{service.upper()}_DATABASE_URL": self.database_url(folder, service) for service in _SERVICES}
        redis_url = f"{self.cluster.redis_url}?prefix={prefix}"  # no lock, and no cached stock, of other databases
        return found | urls | dict.fromkeys(("INVENTORY_LOCK_URL", "INVENTORY_CACHE_URL"), redis_url)

    def broker(self, folder: Path) -> tuple[str, str]:
        return self.broker_url, f"{folder.name}-"

    def database_url(self, folder: Path, service: str) -> str:
        return f"{self.cluster.mysql_url}/{_database(folder, service)}"

    def finds(self, module: str, address: str) -> bool:
        if not self.finds_replicas:
            return True
        return address in consul.passing(self.cluster.ports.consul, _REGISTERED[module])

    def engines(self) -> Mapping[str, psutil.Process]:
        return self._processes

    def versions(self) -> Mapping[str, str]:
        with redis.Redis.from_url(self.cluster.redis_url) as client:
            redis_version = str(client.info("server")["redis_version"])
        return {
            "mariadb": str(self.run_sql("SELECT VERSION()")),
            "innodb_flush_log_at_trx_commit": str(self.run_sql("SELECT @@innodb_flush_log_at_trx_commit")),
            "redis_server": redis_version,
            "rocketmq": f"{ROCKETMQ_VERSION}, client {self.client}",
            "consul": CONSUL_VERSION,
        }

    def run_sql(self, statement: str) -> object:
        """Run a statement without a database; the first value of its answer, or None."""
        url = urlsplit(self.cluster.mysql_url)
        with pymysql.connect(
            host=url.hostname, port=url.port or 0, user=url.username, password=url.password or "", autocommit=True
        ) as connection:
            cursor = connection.cursor()
            cursor.execute(statement)
            row = cursor.fetchone()
            return row[0] if row else None


@contextmanager
def open_world(
    name: str, folder: Path, client: str, say: Callable[[str], None], *, registry: bool = True
) -> "Iterator[World]":
    """The engines of a world for the length of a `with` block.

    Args:
        name: `embedded` or `cluster`.
        folder: A new one, where the engines' data goes; it is taken away in the end.
        client: Of RocketMQ.
        say: Called with a line before each step.
        registry: Whether services find each other by Consul, where there is one.

    Raises:
        CannotRun: An engine is not installed, or does not start.
    """
    if name == EMBEDDED:
        yield Embedded()
        return
    with Cluster(folder, Ports.free(), say=say) as cluster:
        cluster.up(engines_only=True)
        yield Servers(cluster, client, registry=registry)


def _database(folder: Path, service: str) -> str:
    return f"{service}_{folder.name}".replace("-", "_")
