"""The strategies of selling by name, in the order of the reports."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import redis

from common.database import Database
from scripts.bench.strategies.conditional_update import ConditionalUpdate
from scripts.bench.strategies.no_lock import NoLock
from scripts.bench.strategies.redis_lock import RedisLock
from scripts.bench.strategies.redis_stock import RedisStock
from scripts.bench.strategies.row_lock import RowLock
from scripts.bench.strategies.strategy import Strategy
from scripts.bench.strategies.thread_lock import ThreadLock
from scripts.bench.strategies.version import Version

Redis = redis.Redis


@dataclass(frozen=True, slots=True)
class Choice:
    """A strategy that can be chosen.

    Attributes:
        title: What it is called for people.
        make: Makes it on a database, a Redis and a prefix for keys.
        keeps: Whether it never oversells in one process; in two.
    """

    title: str
    make: Callable[[Database, Redis, str], Strategy]
    keeps: tuple[bool, bool] = (True, True)


REBACK: Final = "reback"
"""The name of the real service, which is none of the small ones."""

CHOICES: Final[dict[str, Choice]] = {
    "no-lock": Choice("no lock at all", lambda database, *_: NoLock(database), keeps=(False, False)),
    "thread-lock": Choice("a thread lock", lambda database, *_: ThreadLock(database), keeps=(True, False)),
    "row-lock": Choice("a row lock (FOR UPDATE)", lambda database, *_: RowLock(database)),
    "version": Choice("by version, three tries", lambda database, *_: Version(database)),
    "redis-lock": Choice("a Redis lock a sku, polled every 10 ms", RedisLock),
    "conditional-update": Choice("one conditional update", lambda database, *_: ConditionalUpdate(database)),
    "redis-stock": Choice("Redis as the stock, written later", RedisStock),
}

TITLES: Final = {name: choice.title for name, choice in CHOICES.items()} | {REBACK: "Reback"}
