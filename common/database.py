"""One place for connections and transactions.

    Unavailable
      └─ DatabaseUnavailable   out of reach, full, or busy for too long
           └─ CommitUnknown    the connection was lost at COMMIT: it may or may not have happened

A use case hands a piece of work to `Database.write` and it happens as one transaction, repeated whole when others were
in the way. Nothing outside this file opens a connection.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import peewee
import stamina
from playhouse.migrations import Runner
from playhouse.pool import MaxConnectionsExceeded, PooledSqliteDatabase

from common.errors import Unavailable

T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_BUSY_TIMEOUT_S = 5.0
_REPEATS = 10
_REPEAT_FOR_S = 10.0  # no caller waits longer
_ROWS_AT_ONCE = 128


class DatabaseUnavailable(Unavailable):
    """The database is out of reach, full, or was busy for too long."""

    reason = "DATABASE_UNAVAILABLE"


class CommitUnknown(DatabaseUnavailable):
    """The connection was lost at COMMIT: only a locking read of what was written tells whether it happened."""

    reason = "COMMIT_UNKNOWN"


class _Contended(Exception):
    """Others were in the way; the whole transaction may be tried again."""


def to_micros(time: datetime) -> int:
    """Microseconds since 1970."""
    return (time - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """The aware UTC datetime of so many microseconds since 1970."""
    return _EPOCH + micros * _MICROSECOND


class TimeField(peewee.BigIntegerField):
    """An aware UTC datetime, kept as microseconds since 1970, which sorts and compares on every engine."""

    def db_value(self, value: datetime | None) -> int | None:
        return None if value is None else to_micros(value)

    def python_value(self, value: int | None) -> datetime | None:
        return None if value is None else from_micros(value)


class Database:
    """A pooled database with whole-transaction repeats.

    Args:
        url: `sqlite:///relative/path.db`, `sqlite:////absolute/path.db`.
        connections: How many may be open at once; one more waits `_BUSY_TIMEOUT_S` and is then `DatabaseUnavailable`.
    """

    def __init__(self, url: str, *, connections: int = 80) -> None:
        self.engine = _open(url, connections)
        # One writer of a file at a time, in the order of coming: SQLite's own busy handler is unfair among threads.
        self._writer = threading.Lock()

    def bind(self, models: Sequence[type[peewee.Model]]) -> None:
        """Let these tables be read and written here."""
        self.engine.bind(models)

    def migrate(self, directory: Path) -> list[str]:
        """Apply the migrations that are not applied yet, in order; safe when several replicas start at once.

        Returns:
            The names of those that this call applied.
        """
        with self.reading(), self.engine.atomic("IMMEDIATE"):
            applied: list[str] = Runner(self.engine, str(directory)).up()
            return applied

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Hold a connection for a few reads, each of which sees what is committed by then."""
        with _translated():
            if not self.engine.is_closed():  # within a transaction of this thread
                yield
                return
            self.engine.connect()
            try:
                yield
            finally:
                self.engine.close()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Hold a connection for reads that all see one moment."""
        with self.reading(), self.engine.atomic("DEFERRED"):
            yield

    def write(self, work: Callable[[], T], *, repeat_on: type[Exception] | tuple[type[Exception], ...] = ()) -> T:
        """Run `work` in one transaction that holds what it reads by `locking`, and commit.

        The whole of it is repeated, a bounded number of times and with jitter, when others were in the way. So it must
        have no effect outside the database. Transactions do not nest.

        Args:
            work: Reads and writes; what it raises rolls the transaction back.
            repeat_on: Further errors of `work` to repeat it for, e.g. a duplicate key that a re-read explains.

        Returns:
            What `work` returned.

        Raises:
            CommitUnknown: The connection was lost at COMMIT.
            DatabaseUnavailable: Nothing was written.
        """
        try:
            return self._attempt(work, repeat_on)
        except _Contended:
            pass
        try:
            for again in stamina.retry_context(
                on=_Contended,
                attempts=_REPEATS,
                timeout=_REPEAT_FOR_S,
                wait_initial=0.002,
                wait_max=0.2,
                wait_jitter=0.02,
            ):
                with again:
                    return self._attempt(work, repeat_on)
        except _Contended as contended:
            cause = contended.__cause__
            if repeat_on and isinstance(cause, repeat_on):
                raise cause from None
            raise DatabaseUnavailable("the database was busy for too long") from cause
        raise AssertionError("unreachable: retry_context returns or raises")

    for_update = ""
    """What a SELECT written as text ends with to be `locking`."""

    def locking(self, query: Any) -> Any:  # peewee's queries share no useful type
        """Make a SELECT of a writing transaction read the latest rows and hold them until the end.

        On SQLite a writing transaction holds the whole file, so that every read is one.
        """
        return query

    def execute(self, statement: str, values: Sequence[Any] = ()) -> Any:
        """Run one statement within `write` or `reading`: quick, where a query builder takes longer than the engine.

        Args:
            statement: SQL that every engine knows, with `?` for each value.
            values: Each as the engine takes it.

        Returns:
            The engine's cursor.
        """
        return self.engine.execute_sql(_worded(statement, self.engine.param), values)

    def execute_many(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> int:
        """Run a statement once for each row, within `write`; the quick way for many rows.

        Args:
            statement: SQL that every engine knows, with `?` for each value.
            rows: The values, each as the engine takes it.

        Returns:
            How many rows were touched in all.
        """
        with peewee.__exception_wrapper__:  # type: ignore[attr-defined]
            cursor = self.engine.cursor()
            cursor.executemany(_worded(statement, self.engine.param), rows)
            touched: int = cursor.rowcount
            return touched

    def insert_many(self, into: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows, many in each statement, within `write`.

        Row by row would let every other thread in between, and a busy process would crawl.

        Args:
            into: The table and its columns: `sale (order_sn, state)`.
            rows: The values, each as the engine takes it.
        """
        done = 0
        while done < len(rows):
            # Only powers of two, so that the database meets few statements and can keep them prepared.
            some = rows[done : done + min(_ROWS_AT_ONCE, 1 << (len(rows) - done).bit_length() - 1)]
            statement = _insert_statement(into, len(some), len(some[0]), self.engine.param)
            self.engine.execute_sql(statement, list(chain.from_iterable(some)))
            done += len(some)

    def close(self) -> None:
        """Close every connection, also those in use."""
        self.engine.close_all()

    def _attempt(self, work: Callable[[], T], repeat_on: type[Exception] | tuple[type[Exception], ...]) -> T:
        if not self.engine.is_closed() and self.engine.in_transaction():
            raise AssertionError("transactions do not nest")
        if not self._writer.acquire(timeout=_BUSY_TIMEOUT_S):
            raise _Contended
        try:
            with self.reading():
                try:
                    return self._in_transaction(work)
                except repeat_on as error:
                    raise _Contended from error
                except peewee.OperationalError as error:
                    if _is_busy(error):
                        raise _Contended from error
                    raise
        finally:
            self._writer.release()

    def _in_transaction(self, work: Callable[[], T]) -> T:
        self.engine.begin("IMMEDIATE")
        with self.engine.manual_commit():
            try:
                result = work()
            except BaseException:
                self._roll_back()
                raise
            try:
                self._commit()
            except peewee.DatabaseError as error:
                self._roll_back()
                raise CommitUnknown("the connection was lost at COMMIT") from error
            return result

    def _commit(self) -> None:
        self.engine.commit()

    def _roll_back(self) -> None:
        # What failed has often ended the transaction already, and the first error is the one that tells.
        if self.engine.connection().in_transaction:
            self.engine.rollback()


@cache
def _worded(statement: str, value: str) -> str:
    return statement.replace("?", value)


@cache
def _insert_statement(into: str, rows: int, columns: int, value: str) -> str:
    row = f"({', '.join([value] * columns)})"
    return f"INSERT INTO {into} VALUES {', '.join([row] * rows)}"  # noqa: S608 made of what this program wrote itself


def _open(url: str, connections: int) -> PooledSqliteDatabase:
    parts = urlsplit(url)
    if parts.scheme != "sqlite":
        raise ValueError(f"a database's URL begins with sqlite://, not {parts.scheme}://")
    if parts.netloc or parts.path in ("", "/"):
        raise ValueError("a SQLite URL has three slashes before a relative path and four before an absolute one")
    path = Path(parts.path[1:])
    path.parent.mkdir(parents=True, exist_ok=True)
    return PooledSqliteDatabase(
        str(path),
        max_connections=connections,
        timeout=_BUSY_TIMEOUT_S,
        autoconnect=False,
        check_same_thread=False,
        # FULL: a commit survives the machine. A broker that remembers more than the orders would oversell.
        pragmas={
            "journal_mode": "wal",
            "synchronous": "full",
            "busy_timeout": int(_BUSY_TIMEOUT_S * 1000),
        },
    )


def _is_busy(error: peewee.OperationalError) -> bool:
    text = str(error)
    return "database is locked" in text or "database table is locked" in text


@contextmanager
def _translated() -> Iterator[None]:
    """Let callers see one kind of error for a database that can't serve."""
    try:
        yield
    except MaxConnectionsExceeded as error:
        raise DatabaseUnavailable("every database connection is in use") from error
    except (peewee.OperationalError, peewee.InterfaceError, OSError) as error:
        raise DatabaseUnavailable("the database can't be used") from error
