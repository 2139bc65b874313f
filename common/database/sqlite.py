"""SQLite: a file in WAL mode, for the processes of one machine."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, Final

import peewee
from playhouse.migrations import Runner
from playhouse.pool import PooledSqliteDatabase
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_random

from common.database.errors import Contended, Overtaken
from common.database.port import SETTING, DatabaseUrl, Driver, FinalStatement, Trouble, refuse_foreign
from common.driver_url import Part, UrlParts, file_of
from common.sqlite_file import prepare_file

_LONGEST_PAUSE_S: Final = 0.05  # between attempts to put the file in WAL mode


class SqliteUrl(DatabaseUrl):
    """Which file."""

    form: ClassVar[str] = "sqlite:///relative.db or sqlite:////absolute.db"
    reads: ClassVar[frozenset[Part]] = frozenset({Part.PATH})

    path: Path

    @property
    def database_name(self) -> str:
        return str(self.path).strip("/")

    @classmethod
    def values_of(cls, parts: UrlParts) -> dict[str, Any]:
        return {"path": file_of(parts)}


class SqliteDriver(Driver):
    """A file.

    Args:
        url: Which one.
        connections: How many may be open at once.
        busy_timeout: Seconds to wait for one of them, and for another writer of the file.
    """

    for_update = ""
    prepares = True
    keeps_time = False

    def __init__(self, url: SqliteUrl, connections: int, busy_timeout: float) -> None:
        self._path = url.path
        self.place = str(url.path)
        self.engine = _open(self._path, connections, busy_timeout)
        self._busy_timeout = busy_timeout
        # One writer of a file at a time, in the order of arrival: SQLite's own busy handler is unfair among threads.
        self._writer = threading.Lock()

    def prepare(self, *, may_be_new: bool) -> None:
        prepare_file(self._path, SETTING, "schema_migration", may_be_new=may_be_new)

    @contextmanager
    def turn(self) -> Iterator[None]:
        if not self._writer.acquire(timeout=self._busy_timeout):
            raise Contended
        try:
            yield
        finally:
            self._writer.release()

    def begin(self) -> None:
        self.engine.begin("IMMEDIATE")

    def begin_snapshot(self) -> None:
        self.engine.begin("DEFERRED")

    def run_all(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> list[int]:
        return [self.engine.execute_sql(statement, values).rowcount for statement, values in statements]

    def commit(self, statements: Sequence[FinalStatement] = ()) -> None:
        found = self.run_all([(statement, values) for statement, values, _ in statements])
        if any(finds not in (None, rows) for rows, (_, _, finds) in zip(found, statements, strict=True)):
            raise Overtaken
        self.commit_alone()

    def roll_back(self) -> None:
        # A failure has often ended the transaction already, and the first error is the one that matters.
        if self.engine.connection().in_transaction:
            self.engine.rollback()

    def locking(self, query: Any) -> Any:
        # A writing transaction holds the whole file, so that every read is the latest, and held.
        return query

    def trouble(self, error: Exception) -> Trouble | None:
        if _is_busy(error):
            return Trouble.CONTENDED
        if isinstance(error, (peewee.OperationalError, peewee.InterfaceError, OSError)):
            return Trouble.UNAVAILABLE
        return None

    def explain(self, error: Exception) -> str:  # noqa: ARG002 a file has one word for it
        return "the database can't be used"

    def migrate(self, runner: Runner) -> list[str]:
        self._log_ahead()
        with self.engine.atomic("IMMEDIATE"):
            refuse_foreign(runner, self.place)
            applied: list[str] = runner.up()
            return applied

    def time(self) -> datetime:
        return datetime.now(UTC)  # a library in this process

    def _log_ahead(self) -> None:
        """Put the file in WAL mode, which it keeps; when several do so at once, SQLite fails some without waiting."""
        repeating = Retrying(
            retry=retry_if_exception(_is_busy),
            wait=wait_random(max=_LONGEST_PAUSE_S),
            stop=stop_after_delay(self._busy_timeout),
            reraise=True,
        )
        repeating(self.engine.execute_sql, "PRAGMA journal_mode = wal")


def _open(path: Path, connections: int, busy_timeout: float) -> PooledSqliteDatabase:
    return PooledSqliteDatabase(
        str(path),
        max_connections=connections,
        timeout=busy_timeout,
        autoconnect=False,
        check_same_thread=False,
        # FULL: a commit survives the machine. A broker must never remember more than the database.
        pragmas={
            "synchronous": "full",
            "busy_timeout": int(busy_timeout * 1000),
        },
    )


def _is_busy(error: BaseException) -> bool:
    if not isinstance(error, peewee.OperationalError):
        return False
    text = str(error)
    return "database is locked" in text or "database table is locked" in text
