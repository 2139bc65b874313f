"""What a caller can learn of a database in trouble.

Unavailable
  └─ DatabaseUnavailable   out of reach, full, or busy for too long
       └─ CommitUnknown    COMMIT, or what travelled with it, got no answer: it may or may not have happened
"""

from common.errors import Unavailable


class DatabaseUnavailable(Unavailable):
    """The database is out of reach, full, or was busy for too long."""

    reason = "DATABASE_UNAVAILABLE"


class CommitUnknown(DatabaseUnavailable):
    """COMMIT got no answer: only a locking read of what was written tells whether it happened."""

    reason = "COMMIT_UNKNOWN"


class Contended(Exception):
    """Nothing was committed, and the whole transaction may be tried again; its cause tells what was in the way."""


class Overtaken(Exception):
    """A row is not as it was read, or there though it was not: someone wrote it in between."""

    def __init__(self, what: str = "a row is not as it was read") -> None:
        super().__init__(what)
