"""What one caller of the Redis lock waits for, and then holds."""

import threading
import time
from collections.abc import Callable
from typing import Final

from common.lock.port import HeldLock

_RENEW_AT: Final = 2 / 3  # of a lock's time


class NoKeys(HeldLock):
    """Held by who asked for no keys."""

    @property
    def lost(self) -> bool:
        return False

    @property
    def contended(self) -> bool:
        return False


class Claim(HeldLock):
    """One caller's keys: waited for, then held, then released. Times are the monotonic clock's.

    Attributes:
        token: Its name in Redis, new for each claim.
        keys: With the prefix, ascending.
        woken: Set when the caller that waits should look again.
        requested: Whether Redis may know of it.
        granted: Whether Redis said that it was handed the keys while it waited.
        expires_at: When Redis drops it, unless it is renewed; infinite while it is not held.
        renew_at: When to renew it; infinite while it is not held.
        why_lost: Empty unless it was lost.
    """

    __slots__ = (
        "_contended",
        "_on_contended",
        "expires_at",
        "granted",
        "keys",
        "renew_at",
        "requested",
        "token",
        "why_lost",
        "woken",
    )

    def __init__(self, token: str, keys: list[str], on_contended: Callable[[], None] | None) -> None:
        self.token = token
        self.keys = keys
        self.woken = threading.Event()
        self.requested = False
        self.granted = False
        self.why_lost = ""
        self.expires_at = float("inf")
        self.renew_at = float("inf")
        self._contended = False
        self._on_contended = on_contended

    @property
    def lost(self) -> bool:
        return bool(self.why_lost) or time.monotonic() >= self.expires_at

    @property
    def contended(self) -> bool:
        return self._contended

    def contend(self) -> None:
        """Somebody waits for one of its keys."""
        self._contended = True
        if self._on_contended is not None:
            self._on_contended()

    def hold(self, since: float, seconds: float) -> None:
        """It is held for `seconds`, counted by Redis from `since` or later."""
        self.expires_at = since + seconds
        self.renew_at = since + seconds * _RENEW_AT
