"""The tables that the strategies share, many callers at once, and what the tables say afterwards."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any
from uuid import uuid4

from redis import Redis

from common.database import Database
from common.errors import DomainError
from scripts.bench.strategies.choice import CHOICES
from scripts.bench.strategies.strategy import Lines, Strategy, make_tables, stock_up
from tests.support.databases import url_of
from tests.support.engines import REDIS_URL
from tests.support.waiting import TIMEOUT_S

ON_REDIS = ["redis-lock", "redis-stock"] if REDIS_URL else []
"""The strategies that need a Redis, when there is one."""

WITHOUT_REDIS = [name for name in CHOICES if not name.startswith("redis")]


class Tables:
    """A database with the tables, and strategies on it."""

    def __init__(self, database: Database, opened: ExitStack) -> None:
        self.database = database
        self.prefix = f"{uuid4().hex}:"
        self._opened = opened

    @cached_property
    def redis(self) -> Redis:
        return self._opened.enter_context(closing(Redis.from_url(REDIS_URL or "redis://nowhere:1/0")))

    def put(self, **units: int) -> None:
        stock_up(self.database, units)

    def open(self, name: str) -> Strategy:
        """A strategy, as its server opens it; another one of the same name is another replica."""
        return self.keep(CHOICES[name].make(self.database, self.redis, self.prefix))

    def keep(self, strategy: Strategy) -> Strategy:
        """The strategy, which is closed with the tables."""
        return self._opened.enter_context(closing(strategy))

    def available(self, sku: str) -> int:
        ((available,),) = self._ask("SELECT available FROM stock WHERE sku = ?", sku)
        return int(available)

    def sold(self) -> dict[str, int]:
        """Units by sku that sales were written of."""
        return {sku: int(units) for sku, units in self._ask("SELECT sku, SUM(quantity) FROM sale GROUP BY sku")}

    def orders(self) -> set[str]:
        return {order_sn for (order_sn,) in self._ask("SELECT order_sn FROM sale")}

    def _ask(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with self.database.reading():
            rows: list[tuple[Any, ...]] = list(self.database.execute(statement, values).fetchall())
            return rows


def void(_: object) -> None:
    """Return nothing, as a hook has to."""


@contextmanager
def open_tables(folder: Path) -> Iterator[Tables]:
    with closing(Database(url_of(folder, "strategies"), connections=80)) as database:
        make_tables(database)
        with ExitStack() as opened:
            tables = Tables(database, opened)
            if REDIS_URL:
                opened.callback(lambda: _forget(tables))
            yield tables


def _forget(tables: Tables) -> None:
    with Redis.from_url(REDIS_URL) as client:
        for key in client.scan_iter(f"{tables.prefix}*"):
            client.delete(key)


def outcome(strategy: Strategy, order_sn: str, lines: Lines) -> DomainError | None:
    """None: it sold; else why not."""
    try:
        strategy.sell(order_sn, lines)
    except DomainError as refusal:
        return refusal
    return None


def rush(strategies: Sequence[Strategy], orders: Sequence[Lines], threads: int) -> Counter[type[DomainError] | None]:
    """Many callers at once, to these replicas in turn; how often each outcome came."""
    begin = threading.Barrier(threads)

    def call(thread: int) -> list[type[DomainError] | None]:
        begin.wait(TIMEOUT_S)
        seen = []
        for number in range(thread, len(orders), threads):
            refusal = outcome(strategies[number % len(strategies)], f"order-{number}", orders[number])
            seen.append(None if refusal is None else type(refusal))
        return seen

    with ThreadPoolExecutor(threads) as callers:
        return Counter(one for seen in callers.map(call, range(threads)) for one in seen)


def together(*calls: Callable[[], Any]) -> list[Any]:
    """What these calls return, made at the same time."""
    with ThreadPoolExecutor(len(calls)) as callers:
        return [each.result(TIMEOUT_S) for each in [callers.submit(call) for call in calls]]
