"""How long a sell may take before it counts as lost."""

from bisect import bisect_left, insort
from collections import deque
from threading import Lock
from typing import Final

_LEAST_S: Final = 0.5
_FACTOR: Final = 4
_KEPT: Final = 512  # the 99th percentile of so many looks past five hung calls
_ENOUGH: Final = 100
_AT_FIRST_S: Final = 2.0  # until there are enough


class SellTimeLimit:
    """Four times what 99 of 100 recent sells took, at least half a second: an instance that hangs is noticed soon.

    A call that expired counts as one that took half of its limit, so the limit doubles where all of inventory is slow.
    """

    def __init__(self) -> None:
        self._recent: deque[float] = deque()
        self._ordered: list[float] = []
        self._changing = Lock()

    def within(self, left_s: float) -> float:
        """Seconds that the next sell may take, of the `left_s` that there are."""
        with self._changing:
            count = len(self._ordered)
            if count < _ENOUGH:
                return min(left_s, _AT_FIRST_S)
            return min(left_s, max(_LEAST_S, _FACTOR * self._ordered[count * 99 // 100]))

    def add_expired(self, limit_s: float) -> None:
        """Learn that a sell took longer than its limit."""
        self.add(limit_s / 2)

    def add(self, took_s: float) -> None:
        """Learn how long a sell took."""
        with self._changing:
            if len(self._recent) == _KEPT:
                oldest = self._recent.popleft()
                del self._ordered[bisect_left(self._ordered, oldest)]
            self._recent.append(took_s)
            insort(self._ordered, took_s)
