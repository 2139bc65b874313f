"""5. A Redis lock a sku: redis-py's own (SET NX with an owner's token, released by Lua), asked for again every 10 ms.

A watchdog renews what is held for long, so that a slow database does not let the next one in. Whoever was stopped for
longer than the expiry still writes back what it read: only the row itself could refuse that.
"""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Final

from redis import Redis
from redis.exceptions import LockError
from redis.lock import Lock

from common.database import Database
from common.errors import Aborted
from scripts.bench.strategies.no_lock import NoLock
from scripts.bench.strategies.strategy import Hook, Lines, nothing

POLL_S: Final = 0.01
_EXPIRY_S: Final = 15.0
_TIMEOUT_S: Final = 30.0


class RedisLock:
    """`prefix` is put before the keys; a lock whose holder is gone ends after `expiry` seconds."""

    def __init__(
        self,
        database: Database,
        client: Redis,
        prefix: str,
        between: Hook = nothing,
        expiry: float = _EXPIRY_S,
    ) -> None:
        self._unguarded = NoLock(database, between)
        self._client = client
        self._prefix = prefix
        self._expiry = expiry
        self._watchdog = _Watchdog(expiry)

    def sell(self, order_sn: str, lines: Lines) -> None:
        with ExitStack() as held:
            for sku in lines:  # ascending, as every caller
                lock = self._lock_of(sku)
                try:
                    held.enter_context(lock)
                except LockError:
                    raise Aborted(
                        f"could not acquire the lock of {sku} before the deadline", reason="STOCK_BUSY"
                    ) from None
                held.enter_context(self._watchdog.renewing(lock))
            self._unguarded.sell(order_sn, lines)  # has committed before the locks are released

    def _lock_of(self, sku: str) -> Lock:
        return Lock(
            self._client,
            f"{self._prefix}lock:{sku}",
            timeout=self._expiry,
            sleep=POLL_S,
            blocking_timeout=_TIMEOUT_S,
            thread_local=False,  # the watchdog renews it
            raise_on_release_error=False,  # it expired, and is another's now; that is logged
        )

    def close(self) -> None:
        self._watchdog.close()


class _Watchdog:
    """Renews the locks that are held: one thread for all, three times an expiry."""

    def __init__(self, expiry: float) -> None:
        self._expiry = expiry
        self._held: set[Lock] = set()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lock-watchdog", daemon=True)
        self._thread.start()

    @contextmanager
    def renewing(self, lock: Lock) -> Iterator[None]:
        self._held.add(lock)
        try:
            yield
        finally:
            self._held.discard(lock)

    def _run(self) -> None:
        while not self._closed.wait(self._expiry / 3):
            for lock in self._held.copy():
                with suppress(LockError):  # it was released meanwhile
                    lock.extend(self._expiry, replace_ttl=True)

    def close(self) -> None:
        self._closed.set()
        self._thread.join()
