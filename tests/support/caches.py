"""The cache's drivers: the local one, and Redis when `TEST_REDIS_URL` names one; as replicas share them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Final
from uuid import uuid4

import redis

from common.cache.drivers import open_cache
from common.cache.local import LocalCache
from common.cache.port import Cache
from tests.support.engines import REDIS_URL

DRIVERS: Final = ["local", "redis"] if REDIS_URL else ["local"]
"""What a suite for every driver is parametrized with."""

_LONG: Final = timedelta(seconds=1000)  # beside it the time that a test takes is nothing


class Caches:
    """What the replicas of a service have for a cache, and a time that the test moves.

    Attributes:
        replicas: Each one's cache; two where they can share one.
        expiry: How long an entry lives.
        moments: What the caches' `now` and `read` said and the test still needs; put here, time passes for them too.
    """

    def __init__(self, replicas: Sequence[Cache], expiry: timedelta, move_on: Callable[["Caches", timedelta], None]):
        self.replicas = replicas
        self.expiry = expiry
        self.moments: dict[object, int] = {}
        self._move_on = move_on

    def move_on(self, time: timedelta) -> None:
        """Let so much time pass."""
        self._move_on(self, time)


@contextmanager
def own_caches(driver: str, *, entries: int = 1000) -> Iterator[Caches]:
    """Empty caches with a key prefix of their own."""
    if driver == "local":
        time = [10**15]
        cache = LocalCache(_LONG, entries, lambda: time[0])

        def move_clock(_: Caches, by: timedelta) -> None:
            time[0] += by // timedelta(microseconds=1) * 1000

        yield Caches([cache], _LONG, move_clock)
        cache.close()
        return
    prefix = f"{uuid4().hex}:"
    with ExitStack() as opened, redis.Redis.from_url(REDIS_URL) as client:
        replicas = [open_cache(f"{REDIS_URL}?prefix={prefix}&timeout=20&expiry=1000") for _ in range(2)]
        for replica in replicas:
            opened.callback(replica.close)

        def move_entries(caches: Caches, by: timedelta) -> None:
            """Redis's clock is its machine's: instead everything else becomes older."""
            ms = by // timedelta(milliseconds=1)
            for key in client.keys(f"{prefix}*"):
                client.pexpire(key, client.pttl(key) - ms)  # below zero: gone
            caches.moments = {name: moment - ms for name, moment in caches.moments.items()}

        yield Caches(replicas, _LONG, move_entries)
        for key in client.keys(f"{prefix}*"):
            client.delete(key)
