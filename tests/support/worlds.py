"""The worlds that the same tests are run in: what the services of a test's folder stand on.

    embedded   SQLite, a broker in a file, a local lock
    servers    MariaDB and Redis, and the broker in a file still: a test can hold its clock and look into it
    cluster    MariaDB, Redis, RocketMQ, and Consul where there are replicas

Each test has its own: databases, and prefixes for the keys of locks and for topics. A world is there when the variables
of `tests.support.engines` name what it needs. In the end the books are read from the databases themselves.

A fixture says `with in_world(name, folder)`; settings then made for the folder (`tests.support.services`) are for it.
"""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import inventory_srv.entrypoints.consumers
import order_srv.entrypoints.consumers
from common.clock import Clock
from common.messaging.drivers import open_broker
from common.messaging.port import Broker
from order_srv.domain.messages import ORDER_REBACK, ORDER_TIMEOUT
from tests.support.databases import databases_on
from tests.support.engines import CONSUL_URL, MYSQL_URL, REDIS_URL, ROCKETMQ_NAMESERVER, ROCKETMQ_URL
from tests.support.rocketmq_topics import Topics
from tests.support.tables import problems_in_tables

SHORT_BROKER: Final = "check_after=1&check_every=0.3&lease=3&retry_after=0.1"
"""Parameters of the broker in a file that make a test short."""

_HAS_SERVERS: Final = bool(MYSQL_URL and REDIS_URL)
HAS_CLUSTER: Final = bool(_HAS_SERVERS and ROCKETMQ_URL and ROCKETMQ_NAMESERVER and CONSUL_URL)
"""Whether every engine is there."""

WORLDS: Final = ["embedded", *(["cluster"] if HAS_CLUSTER else ["servers"] if _HAS_SERVERS else [])]
"""Where whole services are tried."""

FILE_BROKER_WORLDS: Final = ["embedded", *(["servers"] if _HAS_SERVERS else [])]
"""Where a test can look into the broker, and time passes for it as the test says."""

_TOPICS: Final = {ORDER_REBACK: "TRANSACTION", ORDER_TIMEOUT: "DELAY"}
_DEAD_LETTERS: Final = (
    f"{ORDER_REBACK}-{inventory_srv.entrypoints.consumers.GROUP}",
    f"{ORDER_TIMEOUT}-{order_srv.entrypoints.consumers.GROUP}",
)
_FILE: Final = "world"  # in a folder, what its world is


@dataclass(frozen=True)
class World:
    """What the services of a folder stand on.

    Attributes:
        folder: The test's own.
        name: Which world.
        prefix: Before all that is shared with other tests.
    """

    folder: Path
    name: str = "embedded"
    prefix: str = ""

    @property
    def lock_url(self) -> str:
        return "local://" if self.name == "embedded" else f"{REDIS_URL}?prefix={self.prefix}"

    @property
    def cache_url(self) -> str:
        """The service's default; several services on one file must set `none://`."""
        return ""

    @property
    def has_registry(self) -> bool:
        """Whether replicas find each other by Consul; by a list of addresses otherwise."""
        return self.name == "cluster"

    @property
    def has_broker_in_file(self) -> bool:
        """Whether a test can look into the broker, and keep it from writing."""
        return self.name != "cluster"

    def broker(self, parameters: str = SHORT_BROKER) -> dict[str, Any]:
        """The settings that lead to the broker; `parameters` are those of a broker in a file."""
        if not self.has_broker_in_file:
            native = ROCKETMQ_URL.startswith("rocketmq-native:")  # its host is the name server
            url = ROCKETMQ_URL if native else f"{ROCKETMQ_URL}?nameserver={ROCKETMQ_NAMESERVER}"
            return {"broker_url": url, "topic_prefix": self.prefix}
        return {"broker_url": f"embedded:///{self.folder}/broker.db?{parameters}", "topic_prefix": self.prefix}

    def open_broker(self, clock: Clock, parameters: str = SHORT_BROKER) -> Broker:
        """A client of the broker, as the services have one each."""
        settings = self.broker(parameters)
        return open_broker(settings["broker_url"], topic_prefix=settings["topic_prefix"], clock=clock)


def world_of(folder: Path) -> World:
    """The world of a folder; embedded unless a fixture says otherwise."""
    file = folder / _FILE
    return World(folder, **json.loads(file.read_text())) if file.exists() else World(folder)


@contextmanager
def in_world(name: str, folder: Path) -> Iterator[World]:
    """Let the services of `folder` be in this world; at the end its books have to balance."""
    with ExitStack() as closing:
        closing.enter_context(databases_on("sqlite" if name == "embedded" else "mysql", folder))
        prefix = "" if name == "embedded" else f"t{uuid4().hex[:12]}-"
        (folder / _FILE).write_text(json.dumps({"name": name, "prefix": prefix}))
        world = world_of(folder)
        if not world.has_broker_in_file:
            closing.enter_context(_topics(world))
        yield world
        problems = problems_in_tables(folder)
        assert not problems, "the tables do not balance:\n  " + "\n  ".join(problems)


@contextmanager
def _topics(world: World) -> Iterator[None]:
    topics = Topics(ROCKETMQ_NAMESERVER)
    kinds = {world.prefix + name: kind for name, kind in _TOPICS.items()}
    of_dead_letters = [f"%DLQ%{world.prefix}{name}" for name in _DEAD_LETTERS]
    for topic, kind in kinds.items():
        topics.make(topic, kind)
    for topic in of_dead_letters:
        topics.make(topic, "NORMAL")
    yield
    for topic in (*kinds, *of_dead_letters):
        topics.delete(topic)
