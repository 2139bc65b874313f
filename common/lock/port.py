"""The lock port: keeps replicas from queueing on the same database rows.

Correctness never depends on it; the database's rows guard themselves.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
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

    @property
    @abstractmethod
    def wanted(self) -> bool:
        """Whether someone else waits for a key of it: who keeps it for later gives it back."""


class Lock(ABC):
    """Takes many keys at once, all or nothing."""

    @abstractmethod
    def take(
        self,
        keys: Collection[str],
        deadline: Deadline,
        *,
        replacing: Held | None = None,
        on_contended: Callable[[], None] | None = None,
    ) -> Held:
        """Take every key, and hold it until it is given back.

        Args:
            keys: Any order, repeats allowed; taken in sorted order so that two callers never wait for each other.
            deadline: Until when to wait.
            replacing: What was held until now. It is given back whatever comes of this, in the same trip, and those
                who wait for its keys go first.
            on_contended: Called when somebody begins to wait for a key of it, on a thread that has other things to do.

        Raises:
            LockBusy: Not every key was had by the deadline. Nothing is held then.
            LockUnavailable: The lock's engine is down, and the lock was told to refuse then.
        """

    @abstractmethod
    def give_back(self, held: Held) -> None:
        """Let others have it.

        Raises:
            LockLost: It was lost while it was held.
        """

    @contextmanager
    def holding(self, keys: Collection[str], deadline: Deadline) -> Iterator[Held]:
        """Hold every key for the length of the `with` block.

        Raises:
            LockBusy, LockUnavailable: On entering, as `take` does.
            LockLost: On leaving, when the lock was lost while it was held. The holder's own exception goes first.
        """
        held = self.take(keys, deadline)
        try:
            yield held
        except BaseException:
            with suppress(LockLost):
                self.give_back(held)
            raise
        self.give_back(held)

    @abstractmethod
    def close(self) -> None:
        """Give back what is held and stop."""
