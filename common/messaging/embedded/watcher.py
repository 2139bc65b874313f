"""Notices what other processes wrote, and what becomes due.

SQLite notifies nobody when a file changes, but `PRAGMA data_version` tells in microseconds whether it did. So one
thread of each process reads it, and the clock, every 20 ms; only when one of them has news does it query the queues.
"""

import sqlite3
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from threading import Thread, current_thread

import structlog

from common.messaging.embedded.consumer import Consumer
from common.messaging.embedded.schema import connect
from common.messaging.embedded.writer import Writer
from common.messaging.port import BrokerUnavailable

log = structlog.get_logger(__name__)

POLL_EVERY = 0.02
_LOST_LEASES_EVERY = 1.0
_TIDY_EVERY = 30.0
_PAUSE_AFTER_ERROR = 1.0
_NEVER = 1 << 62

_FIRST_DUE = "SELECT due FROM entries WHERE queue = ? AND leased_until = 0 ORDER BY due LIMIT 1"


class Watcher:
    """Wakes consumers, renews their leases and tidies the file, in a thread of its own."""

    def __init__(
        self,
        *,
        path: Path,
        lease: timedelta,
        consumers: Sequence[Consumer],
        writer: Writer,
        now: Callable[[], int],
        tidy: Callable[[], None],
    ) -> None:
        self._path = path
        self._consumers = consumers
        self._writer = writer
        self._now = now
        self._every = {
            self._renew_leases: lease.total_seconds() / 3,
            self._look_for_lost_leases: min(_LOST_LEASES_EVERY, lease.total_seconds() / 4),
            tidy: _TIDY_EVERY,
        }
        self._stopped = False
        self._thread = Thread(target=self._run, name="broker-watcher", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped = True
        if self._thread.ident is not None and self._thread is not current_thread():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped:
            try:
                with closing(connect(self._path, busy_timeout=1.0)) as connection:
                    self._watch(connection)
            except BrokerUnavailable:
                return  # the writer is closed
            except Exception as error:  # noqa: BLE001 - if this thread ended, nothing would be delivered any more
                log.warning("broker can't look for messages", error=repr(error))
                time.sleep(_PAUSE_AFTER_ERROR)

    def _watch(self, connection: sqlite3.Connection) -> None:
        seen, next_due = -1, 0
        due_times = {work: time.monotonic() + every for work, every in self._every.items()}
        while not self._stopped:
            time.sleep(POLL_EVERY)  # not an Event: waiting for one costs three times as much
            (version,) = connection.execute("PRAGMA data_version").fetchone()
            if version != seen or self._now() >= next_due:
                seen = version
                next_due = self._wake_consumers(connection)
            passed = time.monotonic()
            for work, at in due_times.items():
                if passed >= at:
                    work()
                    due_times[work] = passed + self._every[work]

    def _wake_consumers(self, connection: sqlite3.Connection) -> int:
        """Wake consumers with something due. Returns when the next entry will be due."""
        now = self._now()
        next_due = _NEVER
        for consumer in self._consumers:
            row = connection.execute(_FIRST_DUE, (consumer.queue,)).fetchone()
            if row is None or consumer.free <= 0:
                continue  # a busy consumer leases more by itself when a thread is free
            if row[0] <= now:
                consumer.look_for_due()
            else:
                next_due = min(next_due, row[0])
        if any(consumer.wants_more for consumer in self._consumers):
            self._writer.wake()
        return next_due

    def _look_for_lost_leases(self) -> None:
        for consumer in self._consumers:
            consumer.look_for_due()
        self._writer.wake()

    def _renew_leases(self) -> None:
        for consumer in self._consumers:
            consumer.renew_leases()
