"""What a caller can learn of a database in trouble.

Unavailable
  └─ DatabaseUnavailable   out of reach, full, or busy for too long
       └─ CommitUnknown    the connection was lost at COMMIT: it may or may not have happened
"""

from typing import NoReturn

from common.errors import Unavailable


class DatabaseUnavailable(Unavailable):
    """The database is out of reach, full, or was busy for too long."""

    reason = "DATABASE_UNAVAILABLE"


class CommitUnknown(DatabaseUnavailable):
    """The connection was lost at COMMIT: only a locking read of what was written tells whether it happened."""

    reason = "COMMIT_UNKNOWN"


class Contended(Exception):
    """Nothing was committed, and the whole transaction may be tried again; its cause tells what was in the way."""


class Overtaken(Exception):
    """A row is not as it was read, or there though it was not: someone wrote it in between."""


class StatementFailed(Exception):
    """A statement before COMMIT failed, so that nothing was committed."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self._error = error

    def tell(self) -> NoReturn:
        """Raise it."""
        raise self._error
