"""2. A thread lock: the same, one thread at a time. It knows nothing of the other process, nor of the other machine."""

import threading

from common.database import Database
from scripts.bench.strategies.no_lock import NoLock
from scripts.bench.strategies.strategy import Hook, Lines, nothing


class ThreadLock:
    def __init__(self, database: Database, between: Hook = nothing) -> None:
        self._unguarded = NoLock(database, between)
        self._lock = threading.Lock()

    def sell(self, order_sn: str, lines: Lines) -> None:
        with self._lock:
            self._unguarded.sell(order_sn, lines)

    def close(self) -> None:
        pass
