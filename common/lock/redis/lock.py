"""A lock between replicas, kept in one Redis or in the master that Sentinels name: `redis://…` (common/redis/url.py).

    replica A          Redis                          replica B
    ACQUIRE tea ─────▶ tea = A, ends in 15 s
    A is told    ◀──── B waits for tea, mug    ◀───── ACQUIRE tea, mug      all or nothing, and in the order of asking
    RELEASE tea ─────▶ tea = mug = B, ends in 3 s
                       PUBLISH B's channel     ─────▶ B goes on, and renews when it stays that long
                       tea, mug are free       ◀───── RELEASE tea, mug

A key's value is its owner's token, new for each time it is taken: who comes back after its lock expired finds another
token there, and leaves it alone. A release hands the keys to the longest waiter of each that can have all it wants, so
a waiter asks once and is told. Waiters stand in line by the time at which they came, the same for all their keys:
nobody is passed over, and no two wait for each other. A waiter asks again each second only to show that it is alive,
and to find a lock whose holder died. A holder that wants other keys next gives back and takes in one trip (SWAP).

Not for Redis Cluster: a script touches all keys of a batch, and names of keys that it makes itself (`lock-queue:` and
`lock-waiter:`). It needs leave for its callers' keys, keys `lock*` and channels `lock-wake:*`.
"""

import secrets
import threading
import time
from collections.abc import Callable, Collection
from typing import Final

from common.deadline import Deadline
from common.lock.port import Held, Lock, LockBusy, LockLost, LockUnavailable, Outage
from common.lock.redis.listener import RedisConnections
from common.lock.redis.scripts import ACQUIRE, RELEASE, RENEW, SWAP
from common.metrics import LOCK_LOST, LOCK_UNGUARDED, LOCK_WAIT
from common.redis.pool import RedisDown
from common.redis.url import RedisUrl

_ALIVE_S: Final = 3.0
"""How long a waiter counts as alive without a word of it, and how long it holds what it was handed."""

_RENEW_AT: Final = 2 / 3  # of a lock's time
_TRY_EVERY_S: Final = 0.5  # to renew, when Redis gave no answer


class _WithoutRedis(Held):
    """Of no keys, or unguarded while Redis is down: then someone else may hold them."""

    def __init__(self, *, lost: bool) -> None:
        self._lost = lost

    @property
    def lost(self) -> bool:
        return self._lost

    @property
    def wanted(self) -> bool:
        return False


class _Claim(Held):
    """One caller's keys: waited for, then held, then given back. Times are the monotonic clock's."""

    __slots__ = (
        "_on_wanted",
        "_wanted",
        "asked",
        "expires_at",
        "handed",
        "keys",
        "renew_at",
        "token",
        "why_lost",
        "woken",
    )

    def __init__(self, token: str, keys: list[str], on_contended: Callable[[], None] | None) -> None:
        self.token = token
        self.keys = keys
        self._wanted = False
        self._on_contended = on_contended
        self.woken = threading.Event()
        self.asked = False  # Redis may know of it
        self.handed = False
        self.why_lost = ""
        self.expires_at = float("inf")  # not held yet
        self.renew_at = float("inf")

    @property
    def lost(self) -> bool:
        return bool(self.why_lost) or time.monotonic() >= self.expires_at

    @property
    def wanted(self) -> bool:
        return self._wanted

    def want(self) -> None:
        self._wanted = True
        if self._on_contended is not None:
            self._on_contended()

    def hold(self, since: float, seconds: float) -> None:
        """It is held for `seconds`, and Redis began to count after `since`."""
        self.expires_at = since + seconds
        self.renew_at = since + seconds * _RENEW_AT


class RedisLock(Lock):
    """Keys in Redis; two trips to take and give back what nobody else wants.

    An answer of Redis may take `url.timeout`, so a deadline can be missed by that much while Redis hangs.

    Args:
        url: Which Redis, and how long a lock lives whose holder is gone.
        outage: What to do while Redis is down.
    """

    def __init__(self, url: RedisUrl, outage: Outage = "database") -> None:
        self._prefix = url.prefix
        self._outage = outage
        self._expiry = url.expiry.total_seconds()
        self._alive = min(_ALIVE_S, self._expiry)
        self._expiry_ms, self._alive_ms = round(self._expiry * 1000), round(self._alive * 1000)
        self._process = secrets.token_hex(8)
        self._changing = threading.Condition()
        self._claims: dict[str, _Claim] = {}  # by token, those that wait and those that are held
        self._in_doubt: list[_Claim] = []  # Redis may still have them
        self._next_renewal = float("inf")
        self._watchdog: threading.Thread | None = None
        self._closed = False
        self._redis = RedisConnections(
            url,
            f"lock-wake:{self._process}",
            heard=self._heard,
            back=self._settle_doubts,
            changed=self._wake_all,
            without_it="stock is guarded by its rows alone" if outage == "database" else "changes of stock are refused",
        )

    def take(
        self,
        keys: Collection[str],
        deadline: Deadline,
        *,
        replacing: Held | None = None,
        on_contended: Callable[[], None] | None = None,
    ) -> Held:
        claim = _Claim(
            f"{self._process}:{secrets.token_hex(8)}", sorted({self._prefix + key for key in keys}), on_contended
        )
        return self._take(claim, deadline, replacing if isinstance(replacing, _Claim) else None)

    def give_back(self, held: Held) -> None:
        why_lost = self._give_back(held) if isinstance(held, _Claim) else ""
        if why_lost:
            raise LockLost(why_lost)

    def close(self) -> None:
        with self._changing:
            if self._closed:
                return
            self._closed = True
            claims = list(self._claims.values())
            self._claims.clear()
            for claim in claims:
                claim.why_lost = "the lock was closed while it was held"
                claim.woken.set()
            self._changing.notify()
        for claim in claims:
            self._release(claim)
        self._redis.close()  # also for those who come too late
        if self._watchdog is not None:
            self._watchdog.join()

    def _take(self, claim: _Claim, deadline: Deadline, last: _Claim | None) -> Held:
        if self._closed:
            raise LockBusy("the lock is closed")
        if not claim.keys:
            if last is not None:
                self._give_back(last)
            return _WithoutRedis(lost=False)
        self._redis.start()
        began = time.monotonic()
        self._claims[claim.token] = claim
        try:
            self._wait_for(claim, deadline, last)
        except RedisDown as down:
            self._forget(claim)
            if self._outage == "refuse":
                raise LockUnavailable("the stock lock can't be reached") from down
            LOCK_UNGUARDED.inc()
            return _WithoutRedis(lost=True)
        except BaseException:
            self._forget(claim)
            raise
        LOCK_WAIT.observe(time.monotonic() - began)
        return claim

    def _wait_for(self, claim: _Claim, deadline: Deadline, last: _Claim | None) -> None:
        forget = None
        try:
            while True:
                asked = time.monotonic()
                look_again = self._ask(claim, deadline, last)
                last = None
                if look_again < 0 and self._hold(claim, asked, self._expiry):
                    return
                forget = forget or deadline.on_cancel(claim.woken.set)
                claim.woken.wait(min(deadline.remaining(), self._alive / 3, look_again))
                # Handed since `asked`, nobody knows when: so it counts from there, or is asked for again.
                in_time = claim.handed and not deadline.cancelled and time.monotonic() < asked + self._alive
                if in_time and self._hold(claim, asked, self._alive):
                    return
                if self._closed or deadline.passed:
                    raise LockBusy(f"{len(claim.keys)} keys were not had in time")
        finally:
            if forget is not None:
                forget()

    def _ask(self, claim: _Claim, deadline: Deadline, last: _Claim | None) -> float:
        """Take its keys or stand in line for them: when to look again, in seconds; below zero when they are held."""
        claim.woken.clear()
        claim.handed = False
        claim.asked = claim.asked or self._redis.up
        alive = 0 if deadline.passed else self._alive_ms
        asked = (claim.token, self._expiry_ms, alive)
        if last is None:
            answer: int = self._redis.call(ACQUIRE, claim.keys, *asked)
        else:
            answer = self._swap(claim, last, asked)
        return answer / 1000

    def _swap(self, claim: _Claim, last: _Claim, asked: tuple[str, int, int]) -> int:
        why_lost = last.why_lost
        self._claims.pop(last.token, None)
        answer: int
        try:
            held, answer = self._redis.call(
                SWAP, [*claim.keys, *last.keys], *asked, len(claim.keys), last.token, self._alive_ms
            )
        except RedisDown:
            self._in_doubt.append(last)
            LOCK_LOST.inc()
            raise
        if why_lost or held < len(last.keys):
            LOCK_LOST.inc()
        return answer

    def _hold(self, claim: _Claim, since: float, seconds: float) -> bool:
        with self._changing:
            if self._closed:
                return False
            claim.hold(since, seconds)
            if self._watchdog is None:
                self._watchdog = threading.Thread(target=self._keep_renewing, name="lock-watchdog", daemon=True)
                self._watchdog.start()
            elif claim.renew_at < self._next_renewal:
                self._changing.notify()
            return True

    def _heard(self, message: str) -> None:
        word, _, token = message.partition(" ")
        claim = self._claims.get(token)
        if claim is None:  # it gave up, and gives back what it was handed
            return
        if word == "handed":
            claim.handed = True
            claim.woken.set()
        elif word == "wanted":
            claim.want()

    def _wake_all(self) -> None:
        """Redis went or came back: whoever waits looks again, and without it nobody keeps a lock for later."""
        gone = not self._redis.up
        for claim in list(self._claims.values()):
            claim.woken.set()
            if gone:
                claim.want()

    def _forget(self, claim: _Claim) -> None:
        """It gives up waiting, and gives back what it is handed at this very moment."""
        if self._claims.pop(claim.token, None) is not None:  # otherwise the lock was closed
            self._release(claim)

    def _give_back(self, claim: _Claim) -> str:
        """Give back what is held; why it was lost, or nothing when it was not."""
        why_lost = claim.why_lost  # before it is given back: a renewal that comes later finds nothing either
        if self._claims.pop(claim.token, None) is not None:
            held = self._release(claim)
            if held is None:
                why_lost = why_lost or "Redis was down when the lock was given back"
            elif held < len(claim.keys):
                why_lost = why_lost or "the lock expired or was taken over while it was held"
        if why_lost:
            LOCK_LOST.inc()
        return why_lost

    def _release(self, claim: _Claim) -> int | None:
        """How many of its keys were still held; None when Redis is down."""
        try:
            return int(self._redis.call(RELEASE, claim.keys, claim.token, self._alive_ms))
        except RedisDown:
            if claim.asked:
                self._in_doubt.append(claim)
            return None

    def _settle_doubts(self) -> None:
        """Redis is back: what it kept of claims that were given up meanwhile would stand in everybody's way."""
        for claim in list(self._in_doubt):
            self._redis.run(RELEASE, claim.keys, claim.token, self._alive_ms)
            self._in_doubt.remove(claim)

    def _keep_renewing(self) -> None:
        while True:
            with self._changing:
                if self._closed:
                    return
                claims = list(self._claims.values())
                self._next_renewal = min((claim.renew_at for claim in claims), default=float("inf"))
                wait = self._next_renewal - time.monotonic()
                if wait > 0:
                    self._changing.wait(min(wait, threading.TIMEOUT_MAX))
                    continue
            for claim in claims:
                if claim.renew_at <= time.monotonic():
                    self._renew(claim)

    def _renew(self, claim: _Claim) -> None:
        asked = time.monotonic()
        try:
            if self._redis.call(RENEW, claim.keys, claim.token, self._expiry_ms):
                claim.hold(asked, self._expiry)
                return
            why = "the lock expired or was taken over while it was held"
        except RedisDown:
            if time.monotonic() < claim.expires_at:
                claim.renew_at = time.monotonic() + _TRY_EVERY_S
                return
            why = "Redis was down until the lock expired"
        claim.renew_at = float("inf")
        if claim.token in self._claims:  # otherwise it was given back meanwhile
            claim.why_lost = why
