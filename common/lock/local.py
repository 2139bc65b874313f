"""A lock within one process: `local://`.

Waiters are served in the order they came. A later one goes first only when it wants none of the keys that an earlier
one waits for, so that nobody starves: not even one that wants many keys.
"""

from collections.abc import Callable, Collection
from threading import Event
from threading import Lock as Mutex

from common.deadline import Deadline
from common.lock.port import Held, Lock, LockBusy, LockLost


class _Claim(Held):
    """One caller's keys: waited for, then held, then given back."""

    def __init__(self, keys: Collection[str], on_contended: Callable[[], None] | None) -> None:
        self.keys = frozenset(keys)
        self.granted = False
        self.closed = False
        self.woken = Event()
        self._wanted = False
        self._on_contended = on_contended

    @property
    def lost(self) -> bool:
        return self.closed

    @property
    def wanted(self) -> bool:
        return self._wanted

    def want(self) -> None:
        if not self._wanted:
            self._wanted = True
            if self._on_contended is not None:
                self._on_contended()


class LocalLock(Lock):
    """Every key is one caller's at a time. A caller that asks again for a key it holds waits for itself: LockBusy."""

    def __init__(self) -> None:
        self._changing = Mutex()
        self._claims: dict[_Claim, None] = {}  # all of them in the order they came
        self._closed = False

    def take(
        self,
        keys: Collection[str],
        deadline: Deadline,
        *,
        replacing: Held | None = None,
        on_contended: Callable[[], None] | None = None,
    ) -> Held:
        claim = _Claim(keys, on_contended)
        with self._changing:
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

    def give_back(self, held: Held) -> None:
        assert isinstance(held, _Claim)
        with self._changing:
            self._claims.pop(held, None)
            self._grant()
        if held.lost:
            raise LockLost("the lock was closed while it was held")

    def close(self) -> None:
        with self._changing:
            self._closed = True
            for claim in self._claims:
                claim.closed = True
                claim.woken.set()
            self._claims.clear()

    def _wait_for(self, claim: _Claim, deadline: Deadline) -> None:
        forget = deadline.on_cancel(claim.woken.set)
        claim.woken.wait(deadline.remaining())
        forget()
        with self._changing:
            if claim.granted and not claim.closed:
                return
            self._claims.pop(claim, None)
            self._grant()  # those that came later and waited for this one only
        raise LockBusy(f"{len(claim.keys)} keys were not had in time")

    def _grant(self) -> None:
        """Give the keys to each waiter that can have all of them, without passing over an earlier one."""
        taken: set[str] = set()
        for claim in self._claims:
            if not claim.granted:
                if taken.isdisjoint(claim.keys):
                    claim.granted = True
                    claim.woken.set()
                else:
                    self._tell_holders_of(claim.keys)
            taken |= claim.keys

    def _tell_holders_of(self, keys: frozenset[str]) -> None:
        for claim in self._claims:
            if claim.granted and not claim.keys.isdisjoint(keys):
                claim.want()
