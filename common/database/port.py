"""What `Database` needs of an engine: to begin transactions, to hold rows, to explain errors."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from enum import Enum, auto
from typing import Any, Final

import peewee
from playhouse.migrations import Runner

from common.database.errors import CommitUnknown
from common.driver_url import DriverUrl
from common.errors import UnusableEngine

ENGINES_ERRORS: Final = (peewee.DatabaseError, peewee.InterfaceError, OSError)
"""What engines raise."""

SETTING: Final = "DATABASE_URL"
"""The setting that names a database, without its prefix."""

FinalStatement = tuple[str, Sequence[Any], int | None]
"""A statement, its values, and how many rows it has to find; None: any number."""


class Trouble(Enum):
    """What an engine's error means to a transaction."""

    CONTENDED = auto()
    """Others were in the way: the transaction is to be rolled back, and may be repeated whole."""
    LOST = auto()
    """The connection is gone: a transaction that was not sent COMMIT never commits, and may be repeated whole."""
    UNAVAILABLE = auto()
    """The engine can't serve: out of reach, full, stopping, or it refuses this client."""
    RULE_BROKEN = auto()
    """A table's CHECK refused a row, though the engine does not raise an IntegrityError for it."""


class DatabaseUrl(DriverUrl):
    """What a database's URL says."""

    @property
    def database_name(self) -> str:
        """What the database is called; two that may share a cache have two names."""
        raise NotImplementedError


class Driver(ABC):
    """One engine.

    Attributes:
        place: What people know the database by; has no secret.
        engine: Its pool of connections; a thread has at most one of them.
        for_update: What a SELECT written as text ends with to read the latest rows and hold them.
        prepares: Whether it keeps the statements prepared that it met before.
        keeps_time: Whether it has a time of its own, that of a server.
    """

    place: str
    engine: Any  # the library's types say little
    for_update: str
    prepares: bool
    keeps_time: bool

    def prepare(self, *, may_be_new: bool) -> None:  # noqa: B027 a server has nothing to prepare
        """Make ready what has to be there before the first connection.

        Args:
            may_be_new: Whether the database may be created.

        Raises:
            UnusableEngine: It can't be.
        """

    @abstractmethod
    def turn(self) -> AbstractContextManager[None]:
        """A block in which this process may write.

        Raises:
            Contended: Its turn did not come in time.
        """

    @abstractmethod
    def begin(self) -> None:
        """Begin a transaction that writes, with its first statement at the latest.

        Each of its statements sees what is committed by then.
        """

    @abstractmethod
    def begin_snapshot(self) -> None:
        """Begin a transaction whose reads all see one moment."""

    @abstractmethod
    def run_all(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> list[int]:
        """Run statements one after the other, in as few trips as the engine allows; how many rows each found."""

    @abstractmethod
    def commit(self, statements: Sequence[FinalStatement] = ()) -> None:
        """Run the last statements and commit, in as few trips as the engine allows.

        Raises:
            CommitUnknown: The connection was lost, so that nobody knows how far the engine came.
            Overtaken: A statement found other rows than it had to. Nothing was committed.
            Any other error: A statement or COMMIT failed. Nothing was committed.
        """

    def commit_alone(self) -> None:
        """Send COMMIT; raises as `commit` does."""
        try:
            self.engine.commit()
        except ENGINES_ERRORS as error:
            self.raise_if_unknown(error)
            raise

    def raise_if_unknown(self, error: Exception) -> None:
        """After a COMMIT that failed: only an engine that says itself that others were in the way did not commit.

        Raises:
            CommitUnknown: For every other error.
        """
        if self.trouble(error) is not Trouble.CONTENDED:
            raise CommitUnknown("the connection was lost at COMMIT") from error

    @abstractmethod
    def roll_back(self) -> None:
        """End the transaction, if it is not over already, without ever raising for a connection that is gone."""

    @abstractmethod
    def locking(self, query: Any) -> Any:  # peewee's queries share no useful type
        """The SELECT that reads the latest rows and holds them until the transaction ends."""

    @abstractmethod
    def trouble(self, error: Exception) -> Trouble | None:
        """What an error means; None: it is a bug, or an IntegrityError."""

    @abstractmethod
    def explain(self, error: Exception) -> str:
        """The text for an UNAVAILABLE error; has no secret."""

    @abstractmethod
    def migrate(self, runner: Runner) -> list[str]:
        """Apply the missing migrations, one replica at a time; the names of those that this call applied."""

    @abstractmethod
    def time(self) -> datetime:
        """The engine's own time, aware, in UTC."""


def refuse_foreign(runner: Runner, place: str) -> None:
    """Refuse a database that has migrations, but none that this program knows.

    Raises:
        UnusableEngine: It is another service's.
    """
    applied = [migration for migration in runner.status() if migration.applied]
    if applied and all(migration.path is None for migration in applied):
        fault = f"{place} is another service's: it has migration {applied[0].name!r}; name another database"
        raise UnusableEngine(SETTING, [fault])


def refuse_unmigrated(runner: Runner, place: str) -> None:
    """Refuse a database that lacks a migration which this program knows.

    Raises:
        UnusableEngine: Its service has not made it ready.
    """
    refuse_foreign(runner, place)
    for migration in runner.status():
        if migration.applied is None:
            fault = f"{place} has no migration {migration.name!r}; start this version of its service once"
            raise UnusableEngine(SETTING, [fault])
