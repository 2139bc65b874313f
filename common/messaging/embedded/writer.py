"""The one thread of a process that writes to the broker's file.

It merges what all other threads want to write, up to a limit, into one transaction. They share its cost (a lock of the
file, a flush of the disk), and none of them holds the lock while it waits for Python. An idle writer writes at once: it
never waits for more to merge.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any, Protocol, TypeVar

import structlog

from common.errors import UnusableEngine
from common.messaging.embedded.schema import begin_session, connect
from common.messaging.embedded.store import Store
from common.messaging.port import BrokerUnavailable
from common.sqlite_file import prepare_file

log = structlog.get_logger(__name__)

T = TypeVar("T")
Statement = Callable[[Store, list[Any]], object]
"""A method of Store that takes rows, and returns a result for each, or nothing."""

MOST_AT_ONCE = 512
_BUSY_PAUSE = 0.0005  # seconds; SQLite's own busy handler soon sleeps 25 ms and more, and is unfair


class Write:
    """One row for one statement, and what became of it."""

    __slots__ = ("error", "result", "row", "statement", "written")

    def __init__(self, statement: Statement, row: tuple[Any, ...]) -> None:
        self.statement = statement
        self.row = row
        self.result: Any = None
        self.error: BaseException | None = None
        self.written = Lock()  # held until it is written: nothing is cheaper to wait for
        self.written.acquire()

    def wait(self) -> None:
        """Return when it is on the disk. Call it at most once.

        Raises:
            BrokerUnavailable: It may or may not be written.
        """
        self.written.acquire()
        if self.error is not None:
            raise self.error


class EntryConsumer(Protocol):
    """Leases entries in every transaction, after everything else in it."""

    def lease(self, store: Store) -> bool:
        """Lease what can be handled now. Returns whether there was anything."""

    def dispatch(self) -> None:
        """The leases are committed: begin to handle."""

    def discard(self) -> None:
        """The leases were rolled back."""

    @property
    def wants_more(self) -> bool:
        """Whether it would lease more even if nothing new arrived."""


class Writer:
    """Writes in a thread of its own, which starts with the first write."""

    def __init__(self, path: Path, busy_timeout: float) -> None:
        self._path = path
        self._busy_timeout = busy_timeout
        self._waiting: SimpleQueue[Write | None] = SimpleQueue()
        self._consumers: tuple[EntryConsumer, ...] = ()
        self._store: Store | None = None
        self._thread: Thread | None = None
        self._pid = 0
        self._closed = False
        self._lock = Lock()
        self._prepared = False
        self._preparing = Lock()

    def prepare(self) -> None:
        """Check the file, once, before this process connects to it. The first write does so too.

        Raises:
            UnusableEngine: It can't be used as it is.
        """
        with self._preparing:
            if not self._prepared:
                prepare_file(self._path, "BROKER_URL", "entries")
                self._prepared = True

    def write(self, statement: Statement, row: tuple[Any, ...]) -> Any:
        """Write a row; return its result when it is on the disk.

        Raises:
            BrokerUnavailable: It may or may not be written.
        """
        write = Write(statement, row)
        self.put(write)
        write.wait()
        return write.result

    def put(self, write: Write) -> None:
        """Write soon. A failure is only logged: for writes that the broker makes up for when they are lost.

        Raises:
            BrokerUnavailable: The writer is closed.
        """
        if self._pid not in (0, os.getpid()):
            raise BrokerUnavailable("this broker was used before a fork; open one after it")
        with self._lock:
            if self._closed:
                raise BrokerUnavailable("the broker is closed")
            if self._thread is None:
                self._pid = os.getpid()
                self._thread = Thread(target=self._run, name="broker-writer", daemon=True)
                self._thread.start()
            self._waiting.put(write)

    def wake(self) -> None:
        """Let the consumers lease."""
        self.put(Write(_no_operation, ()))

    def wait_for_dispatch(self) -> None:
        """Return when leases that are just being taken are dispatched."""
        self.write(_no_operation, ())

    def lease_for(self, consumers: Iterable[EntryConsumer]) -> None:
        """From now on, let these lease entries."""
        self._consumers = tuple(consumers)

    def close(self) -> None:
        """Write what is waiting, then stop."""
        with self._lock:
            if not self._closed:
                self._waiting.put(None)
            self._closed = True
        if self._thread is not None and self._pid == os.getpid():
            self._thread.join()

    def _run(self) -> None:
        while True:
            first = self._waiting.get()
            batch = [first] + [self._waiting.get_nowait() for _ in range(min(self._waiting.qsize(), MOST_AT_ONCE - 1))]
            writes = [write for write in batch if write is not None]
            self._write_all(writes)
            if len(writes) < len(batch):
                break
        if self._store is not None:
            self._store.connection.close()

    def _write_all(self, writes: list[Write]) -> None:
        rows = [write for write in writes if write.statement is not _no_operation]
        try:
            if rows or any(consumer.wants_more for consumer in self._consumers):
                self._write_together(rows)
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is raised where a caller waits
            if len(rows) == 1 or _is_the_engines(error):
                self._fail(rows, error)
            else:
                self._write_one_by_one(rows)
        finally:
            for write in writes:
                write.written.release()

    def _write_one_by_one(self, writes: list[Write]) -> None:
        """One of them is at fault; it must not harm the others."""
        for write in writes:
            try:
                self._write_together([write])
            except BaseException as error:  # noqa: BLE001 - as above
                self._fail([write], error)

    def _write_together(self, writes: list[Write]) -> None:
        """Write all in one transaction, or none."""
        by_statement: dict[Statement, list[Write]] = {}
        for write in writes:
            by_statement.setdefault(write.statement, []).append(write)
        store = self._open_store()
        self._retry_while_busy(lambda: store.connection.execute("BEGIN IMMEDIATE"))
        try:
            for statement, same in by_statement.items():
                results = statement(store, [write.row for write in same])
                if isinstance(results, list):
                    for write, result in zip(same, results, strict=True):
                        write.result = result
            leasing = [consumer for consumer in self._consumers if consumer.lease(store)]
            store.connection.execute("COMMIT")
        except BaseException:
            for consumer in self._consumers:
                consumer.discard()
            store.abort()
            raise
        store.arrived.clear()
        for consumer in leasing:
            consumer.dispatch()

    def _open_store(self) -> Store:
        if self._store is None:
            self.prepare()
            connection = self._retry_while_busy(lambda: connect(self._path))
            try:
                session = self._retry_while_busy(lambda: begin_session(connection))
            except BaseException:
                connection.close()
                raise
            self._store = Store(connection, session)
        return self._store

    def _retry_while_busy(self, work: Callable[[], T]) -> T:
        """Repeat while another process holds the file."""
        give_up = time.monotonic() + self._busy_timeout
        while True:
            try:
                return work()
            except sqlite3.OperationalError as error:
                if not _is_busy(error) or time.monotonic() > give_up:
                    raise
            time.sleep(_BUSY_PAUSE)

    def _fail(self, writes: list[Write], error: BaseException) -> None:
        engine = _is_the_engines(error)
        for write in writes:
            write.error = BrokerUnavailable(f"the broker's file {self._path}: {error}") if engine else error
            write.error.__cause__ = error if engine else None
        if engine and not _is_busy(error) and self._store is not None:
            self._store.connection.close()  # whatever is wrong with it, open it again
            self._store = None
        log.warning("broker can't write", writes=len(writes), error=repr(error))


def _is_the_engines(error: BaseException) -> bool:
    """Whether the file is at fault, not what a caller wanted to write."""
    engines = (sqlite3.OperationalError, sqlite3.InternalError, UnusableEngine)
    return isinstance(error, engines) or type(error) is sqlite3.DatabaseError


def _is_busy(error: BaseException) -> bool:
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK)
    return code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _no_operation(_store: Store, _rows: list[Any]) -> None:
    """Writes nothing: only wakes the writer."""
