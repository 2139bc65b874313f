"""The lock port: keeps replicas from queueing on the same database rows.

Correctness never depends on it; the database's rows guard themselves. A driver only reports that its engine is down
(`LockUnavailable`); whether work goes on without the lock is for its caller to decide.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress

from common.deadline import Deadline
from common.errors import Aborted, DomainError, Unavailable


class LockBusy(Aborted):
    """Not every key could be acquired before the deadline."""

    reason = "LOCK_BUSY"


class LockLost(DomainError):
    """The lock expired or was taken over while it was held."""

    reason = "LOCK_LOST"


class LockUnavailable(Unavailable):
    """The lock's engine is down."""

    reason = "LOCK_UNAVAILABLE"


class HeldLock(ABC):
    """Keys that were acquired together and are not released yet."""

    @property
    @abstractmethod
    def lost(self) -> bool:
        """Whether someone else may hold it by now."""

    @property
    @abstractmethod
    def contended(self) -> bool:
        """Whether someone else waits for one of its keys: a holder that only keeps it for later should release it."""


class Lock(ABC):
    """Acquires many keys at once, all or nothing."""

    def check_engine(self) -> None:  # noqa: B027 a lock without an engine has nothing to check
        """Check the settings of the lock's engine; one that can't be reached now is not checked.

        Raises:
            UnusableEngine: Locks would not hold in it.
        """

    @abstractmethod
    def acquire(
        self,
        keys: Collection[str],
        deadline: Deadline,
        *,
        replacing: HeldLock | None = None,
        on_contended: Callable[[], None] | None = None,
    ) -> HeldLock:
        """Acquire every key, and hold it until it is released.

        Args:
            keys: In any order, repeats allowed; no two callers ever wait for each other.
            deadline: Until when to wait.
            replacing: What was held until now. It is released whatever becomes of this call, in the same trip, and
                those who wait for its keys go first.
            on_contended: Called when somebody begins to wait for one of these keys, on a thread that has other things
                to do.

        Raises:
            LockBusy: Not every key could be acquired before the deadline. None is held.
            LockUnavailable: The lock's engine is down. None is held.
        """

    @abstractmethod
    def release(self, held: HeldLock) -> None:
        """Let others have its keys.

        Raises:
            LockLost: It was lost while it was held.
        """

    @contextmanager
    def holding(self, keys: Collection[str], deadline: Deadline) -> Iterator[HeldLock]:
        """Hold every key for the length of the `with` block.

        Raises:
            LockBusy, LockUnavailable: On entering, as `acquire` does.
            LockLost: On leaving, when the lock was lost while it was held. The holder's own exception goes first.
        """
        held = self.acquire(keys, deadline)
        try:
            yield held
        except BaseException:
            with suppress(LockLost):
                self.release(held)
            raise
        self.release(held)

    @abstractmethod
    def close(self) -> None:
        """Release what is held and stop."""
