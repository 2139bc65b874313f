"""What the database suite needs of each engine: a fresh database, ways to trouble it, a table to work on."""

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import peewee

from common.database import Database, TimeField

PATIENCE: Final = 30.0
"""Seconds that a test waits for what must come."""

MIGRATIONS: Final = Path(__file__).parent / "migrations"


class Note(peewee.Model):
    """The suite's table, as its migrations make it."""

    key = peewee.CharField(64, primary_key=True)
    number = peewee.BigIntegerField()
    time = TimeField(null=True)

    class Meta:
        table_name = "note"


class Harness(ABC):
    """One engine under test, with an empty database of its own.

    Attributes:
        url: Where the database is.
    """

    url: str

    def open(self, *, migrated: bool = True, **settings: Any) -> Database:
        """A database object with a pool of its own, as another process would have it; closed at the end."""
        database = Database(self.url, **settings)
        self._opened.append(database)
        if migrated:
            database.migrate(MIGRATIONS)
        return database

    def __init__(self) -> None:
        self._opened: list[Database] = []

    def end(self) -> None:
        for database in self._opened:
            database.close()

    @abstractmethod
    def in_the_way(self) -> Any:
        """A `with` block in which somebody else holds all that a writer needs."""

    @abstractmethod
    def lose_commit(self, database: Database, *, landed: bool) -> None:
        """Let the next COMMIT of `database` get no answer, before or after it happened."""

    @abstractmethod
    def full_disk(self, database: Database) -> Any:
        """A `with` block in which the disk has no room for one more page."""


class SqliteHarness(Harness):
    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._file = folder / "database.db"
        self.url = f"sqlite:///{self._file}"

    @contextmanager
    def in_the_way(self) -> Iterator[None]:
        other = sqlite3.connect(self._file, isolation_level=None, check_same_thread=False)
        other.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            other.execute("ROLLBACK")
            other.close()

    def lose_commit(self, database: Database, *, landed: bool) -> None:
        as_it_is: Callable[[], None] = database._commit

        def lost() -> None:
            database._commit = as_it_is  # type: ignore[method-assign]
            if landed:
                as_it_is()
            raise peewee.OperationalError("the connection was lost")

        database._commit = lost  # type: ignore[method-assign]

    @contextmanager
    def full_disk(self, database: Database) -> Iterator[None]:
        with database.reading():  # the limit is the connection's; the thread's writes use the same one
            self._limit_pages(database, 1)
            try:
                yield
            finally:
                self._limit_pages(database, 1_000_000)

    def _limit_pages(self, database: Database, pages: int) -> None:
        # SQLite makes it the present size where that is more.
        database.engine.execute_sql(f"PRAGMA max_page_count = {pages}")
