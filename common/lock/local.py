"""A lock within one process: `local://`.

Waiters are served in the order of arrival. A later one goes first only when it needs none of the keys that an earlier
one waits for, so that nobody starves: not even a caller that needs many keys.
"""

from collections.abc import Callable, Collection
from threading import Event
from threading import Lock as Mutex
from typing import ClassVar

from common.deadline import Deadline
from common.driver_url import DriverUrl
from common.lock.port import HeldLock, Lock, LockBusy, LockLost


class LocalLockUrl(DriverUrl):
    """Says that the lock is this process's own."""

    form: ClassVar[str] = "local://"


class _Claim(HeldLock):
    """One caller's keys: waited for, then held, then released."""

    def __init__(self, keys: Collection[str], on_contended: Callable[[], None] | None) -> None:
        self.keys = frozenset(keys)
        self.granted = False
        self.closed = False
        self.woken = Event()
        self._contended = False
        self._on_contended = on_contended

    @property
    def lost(self) -> bool:
        return self.closed

    @property
    def contended(self) -> bool:
        return self._contended

    def contend(self) -> None:
        """Somebody waits for one of its keys."""
        if not self._contended:
            self._contended = True
            if self._on_contended is not None:
                self._on_contended()


class LocalLock(Lock):
    """Each key has one holder at a time. A caller that acquires a key it already holds waits for itself: LockBusy."""

    def __init__(self) -> None:
        self._mutex = Mutex()
        self._claims: dict[_Claim, None] = {}  # waiting and held, in the order of arrival
        self._closed = False

    def acquire(
        self,
        keys: Collection[str],
        deadline: Deadline,
        *,
        replacing: HeldLock | None = None,
        on_contended: Callable[[], None] | None = None,
    ) -> HeldLock:
        claim = _Claim(keys, on_contended)
        with self._mutex:
            if isinstance(replacing, _Claim):
                self._claims.pop(replacing, None)
                self._grant()
            if self._closed:
                raise LockBusy("the lock is closed")
            self._claims[claim] = None
            self._grant()
        if not claim.granted:
            self._wait_for(claim, deadline)
        return claim

    def release(self, held: HeldLock) -> None:
        assert isinstance(held, _Claim)
        with self._mutex:
            self._claims.pop(held, None)
            self._grant()
        if held.lost:
            raise LockLost("the lock was closed while it was held")

    def close(self) -> None:
        with self._mutex:
            self._closed = True
            for claim in self._claims:
                claim.closed = True
                claim.woken.set()
            self._claims.clear()

    def _wait_for(self, claim: _Claim, deadline: Deadline) -> None:
        forget = deadline.on_cancel(claim.woken.set)
        claim.woken.wait(deadline.remaining())
        forget()
        with self._mutex:
            if claim.granted and not claim.closed:
                return
            self._claims.pop(claim, None)
            self._grant()  # later callers that waited only for this one
        raise LockBusy(f"could not acquire {len(claim.keys)} keys before the deadline")

    def _grant(self) -> None:
        """Grant the keys to each waiter that can have all of them, without passing over an earlier one."""
        reserved: set[str] = set()
        for claim in self._claims:
            if not claim.granted:
                if reserved.isdisjoint(claim.keys):
                    claim.granted = True
                    claim.woken.set()
                else:
                    self._contend_for(claim.keys)
            reserved |= claim.keys

    def _contend_for(self, keys: frozenset[str]) -> None:
        for claim in self._claims:
            if claim.granted and not claim.keys.isdisjoint(keys):
                claim.contend()


def open_local(_url: LocalLockUrl) -> LocalLock:
    return LocalLock()
