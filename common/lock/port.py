"""The lock port: keeps replicas from queueing on the same database rows.

Correctness never depends on it; the database's rows guard themselves.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection
from contextlib import AbstractContextManager
from typing import Literal

from common.deadline import Deadline
from common.errors import Aborted, DomainError, Unavailable

Outage = Literal["database", "refuse"]
"""What to do without the lock, its engine down or its holder dead: go on, guarded by the database's rows, or refuse."""


class LockBusy(Aborted):
    """The lock was not had by the deadline."""

    reason = "STOCK_BUSY"


class LockLost(DomainError):
    """The lock expired or was taken over while it was held."""

    reason = "LOCK_LOST"


class LockUnavailable(Unavailable):
    """The lock's engine is down, and nothing is to be done without it."""

    reason = "LOCK_UNAVAILABLE"


class Held(ABC):
    """What a holder can ask of its lock."""

    @property
    @abstractmethod
    def lost(self) -> bool:
        """Whether someone else may hold it by now."""


class Lock(ABC):
    """Takes many keys at once, all or nothing."""

    @abstractmethod
    def holding(self, keys: Collection[str], deadline: Deadline) -> AbstractContextManager[Held]:
        """Hold every key for the length of the `with` block.

        Args:
            keys: Any order, repeats allowed; taken in sorted order so that two callers never wait for each other.
            deadline: Until when to wait.

        Raises:
            LockBusy: On entering, when not every key was had by the deadline. Nothing is held then.
            LockUnavailable: On entering, when the lock's engine is down and the lock was told to refuse then.
            LockLost: On leaving, when the lock was lost while it was held. The holder's own exception goes first.
        """

    @abstractmethod
    def close(self) -> None:
        """Give back what is held and stop."""
