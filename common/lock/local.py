"""A lock within one process: `local://`.

Waiters are served in the order they came. A later one goes first only when it wants none of the keys that an earlier
one waits for, so that nobody starves: not even one that wants many keys.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from threading import Event
from threading import Lock as Mutex

from common.deadline import Deadline
from common.lock.port import Held, Lock, LockBusy, LockLost


class _Claim(Held):
    """One caller's keys: waited for, then held, then given back."""

    def __init__(self, keys: Collection[str]) -> None:
        self.keys = frozenset(keys)
        self.granted = False
        self.closed = False
        self.woken = Event()

    @property
    def lost(self) -> bool:
        return self.closed


class LocalLock(Lock):
    """Every key is one caller's at a time. A caller that asks again for a key it holds waits for itself: LockBusy."""

    def __init__(self) -> None:
        self._changing = Mutex()
        self._claims: dict[_Claim, None] = {}  # all of them in the order they came
        self._closed = False

    @contextmanager
    def holding(self, keys: Collection[str], deadline: Deadline) -> Iterator[Held]:
        claim = _Claim(keys)
        self._claim(claim, deadline)
        try:
            yield claim
        finally:
            self._give_back(claim)
        if claim.lost:
            raise LockLost("the lock was closed while it was held")

    def close(self) -> None:
        with self._changing:
            self._closed = True
            for claim in self._claims:
                claim.closed = True
                claim.woken.set()
            self._claims.clear()

    def _claim(self, claim: _Claim, deadline: Deadline) -> None:
        with self._changing:
            if self._closed:
                raise LockBusy("the lock is closed")
            self._claims[claim] = None
            self._grant()
        if claim.granted:
            return
        forget = deadline.on_cancel(claim.woken.set)
        claim.woken.wait(deadline.remaining())
        forget()
        with self._changing:
            if claim.granted and not claim.closed:
                return
            self._claims.pop(claim, None)
            self._grant()  # those that came later and waited for this one only
        raise LockBusy(f"{len(claim.keys)} keys were not had in time")

    def _give_back(self, claim: _Claim) -> None:
        with self._changing:
            self._claims.pop(claim, None)
            self._grant()

    def _grant(self) -> None:
        """Give the keys to each waiter that can have all of them, without passing over an earlier one."""
        taken: set[str] = set()
        for claim in self._claims:
            if not claim.granted and taken.isdisjoint(claim.keys):
                claim.granted = True
                claim.woken.set()
            taken |= claim.keys
