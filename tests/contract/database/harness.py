"""What the database suite needs of each engine: a fresh database, ways to trouble it, a table to work on."""

import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, Final

import peewee

from common.database import Database, TimeField
from tests.support.databases import connect, kill, own_database
from tests.support.engines import MYSQL_URL

MIGRATIONS: Final = Path(__file__).parent / "migrations"


class Note(peewee.Model):
    """The suite's table, as its migrations make it."""

    key = peewee.CharField(64, primary_key=True, column_name="word")  # KEY is a word of some SQL
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
        engine = database.engine
        as_it_is: Callable[[], None] = engine.commit

        def lost() -> None:
            engine.commit = as_it_is
            if landed:
                as_it_is()
            raise peewee.OperationalError("the connection was lost")

        engine.commit = lost


class MysqlHarness(Harness):
    def __init__(self, server_url: str) -> None:
        super().__init__()
        self._made = ExitStack()
        self.url = self._made.enter_context(own_database(server_url))

    def end(self) -> None:
        super().end()
        self._made.close()

    @contextmanager
    def in_the_way(self) -> Iterator[None]:
        with closing(connect(self.url)) as other, other.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ")  # holds what is between rows too
            cursor.execute("BEGIN")
            cursor.execute("SELECT * FROM note FOR UPDATE")
            try:
                yield
            finally:
                cursor.execute("ROLLBACK")

    def lose_commit(self, database: Database, *, landed: bool) -> None:
        as_it_is: Callable[[], None] = database._commit

        def lost() -> None:
            database._commit = as_it_is  # type: ignore[method-assign]
            if landed:
                as_it_is()
            self.kill(database)
            as_it_is()  # to a server that has closed the connection

        database._commit = lost  # type: ignore[method-assign]

    def kill(self, database: Database) -> None:
        """Let the server close this thread's connection."""
        kill(self.url, database.engine.connection().thread_id())


def make_harness(engine: str, folder: Path) -> Harness:
    return SqliteHarness(folder) if engine == "sqlite" else MysqlHarness(MYSQL_URL)
