"""What `Database` needs of an engine: each driver's own way to begin, to hold rows, to tell what went wrong."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from enum import Enum, auto
from typing import Any, Final

import peewee
from playhouse.migrations import Runner

from common.database.errors import CommitUnknown

ENGINES_ERRORS: Final = (peewee.DatabaseError, peewee.InterfaceError, OSError)
"""What an engine's trouble is told by."""


class Trouble(Enum):
    """What an engine's error means to a transaction."""

    CONTENDED = auto()
    """Others were in the way: the transaction is to be rolled back, and may be repeated whole."""
    LOST = auto()
    """The connection is gone: a transaction that was not told to commit never will be, and may be repeated whole."""
    UNAVAILABLE = auto()
    """The engine can't serve: out of reach, full, stopping, or it refuses this client."""
    RULE_BROKEN = auto()
    """A guard of a table refused a row, though the engine does not say so by an IntegrityError."""


class Driver(ABC):
    """One engine.

    Attributes:
        engine: Its pool of connections; a thread has at most one of them.
        for_update: What a SELECT written as text ends with to read the latest rows and hold them.
        prepares: Whether it keeps the statements prepared that it met before.
        keeps_time: Whether it has a time of its own, that of a server.
    """

    engine: Any  # the library's types say little
    for_update: str
    prepares: bool
    keeps_time: bool

    @abstractmethod
    def turn(self) -> AbstractContextManager[None]:
        """A block in which this process may write.

        Raises:
            Contended: Its turn did not come in time.
        """

    @abstractmethod
    def begin(self) -> None:
        """Begin a transaction that writes, by its first statement at the latest; each sees what is committed then."""

    @abstractmethod
    def begin_snapshot(self) -> None:
        """Begin a transaction whose reads all see one moment."""

    @abstractmethod
    def run_all(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> list[int]:
        """Run statements one after the other, in as few trips as the engine allows; how many rows each found."""

    def commit(self) -> None:
        """Commit.

        Raises:
            CommitUnknown: It got no answer.
            Any other error: It did not happen.
        """
        try:
            self.engine.commit()
        except ENGINES_ERRORS as error:
            if self.trouble(error) is Trouble.CONTENDED:
                raise  # the engine says itself that it did not happen
            raise CommitUnknown("the connection was lost at COMMIT") from error

    @abstractmethod
    def commit_with(self, statements: Sequence[tuple[str, Sequence[Any], int | None]]) -> None:
        """Run statements and commit, in as few trips as the engine allows.

        Args:
            statements: Each with its values, and with how many rows it has to find; None: that does not matter.

        Raises:
            CommitUnknown: It is not known how far the engine came.
            Overtaken: A statement found other rows than it had to. It did not commit.
            Any other error: A statement or COMMIT failed of it. It did not commit.
        """

    @abstractmethod
    def roll_back(self) -> None:
        """End the transaction, if it is not over already, without ever raising for a connection that is gone."""

    @abstractmethod
    def locking(self, query: Any) -> Any:  # peewee's queries share no useful type
        """The SELECT that reads the latest rows and holds them until the transaction ends."""

    @abstractmethod
    def trouble(self, error: Exception) -> Trouble | None:
        """What an error means; None: it is nobody's trouble but a bug's, or a broken rule that says so itself."""

    @abstractmethod
    def explain(self, error: Exception) -> str:
        """What to tell of an UNAVAILABLE one; names no secret."""

    @abstractmethod
    def migrate(self, runner: Runner) -> list[str]:
        """Apply what is not applied yet, one replica at a time; the names of what this call applied."""

    @abstractmethod
    def time(self) -> datetime:
        """The engine's own time, aware, in UTC."""
