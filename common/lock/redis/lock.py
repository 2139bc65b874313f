"""A lock between replicas, kept in one Redis or in the master that Sentinels name: `redis://…` (common/redis/url.py).

    replica A          Redis                            replica B
    ACQUIRE tea ─────▶ tea = A, expires in 15 s
                 ◀──── "contended": B waits      ◀───── ACQUIRE tea, mug    all or nothing, in the order of arrival
    RELEASE tea ─────▶ tea = mug = B, 3 s
                       "granted"                 ─────▶ B goes on, and renews if it holds them that long
                       tea, mug are free         ◀───── RELEASE tea, mug

A key's value is its holder's token, new for each claim: a caller that comes back after its lock expired finds another
token there, and leaves it alone. A release hands the keys to the longest waiter that can have all it needs, so a waiter
asks once and is then told. Waiters are ordered by the time of their arrival, the same for all their keys: nobody is
passed over, and no two wait for each other. A waiter asks again each second only to show that it is alive, and to find
a lock whose holder died. A holder that needs other keys next releases and acquires in one trip (SWAP).

Not for Redis Cluster: a script touches all keys of a batch, and keys whose names it makes itself (`lock-queue:` and
`lock-waiter:`). Its user needs the callers' keys, keys `lock*` and channels `lock-wake:*`.
"""

import secrets
import threading
import time
from collections.abc import Callable, Collection
from typing import Final

from common.deadline import Deadline
from common.lock.port import HeldLock, Lock, LockBusy, LockLost, LockUnavailable
from common.lock.redis.claim import Claim, NoKeys
from common.lock.redis.listener import RedisConnections
from common.lock.redis.scripts import ACQUIRE, RELEASE, RENEW, SWAP
from common.lock.redis.url import RedisLockUrl
from common.metrics import LOCK_LOST, LOCK_WAIT
from common.redis.pool import RedisDown
from common.redis.server_settings import check_for_locks

_ALIVE_S: Final = 3.0
"""How long a silent waiter counts as alive, and how long it holds what it was granted."""

_TRY_EVERY_S: Final = 0.5  # to renew, when Redis did not answer


class RedisLock(Lock):
    """Keys in Redis; two trips to acquire and release what nobody else waits for.

    Redis may take `url.timeout` to answer, so a caller can miss its deadline by that much while Redis hangs.

    Args:
        url: Which Redis, and how long a lock lives whose holder is gone.
    """

    def __init__(self, url: RedisLockUrl) -> None:
        self._url = url
        self._prefix = url.prefix
        self._expiry = url.expiry.total_seconds()
        self._alive = min(_ALIVE_S, self._expiry)
        self._expiry_ms, self._alive_ms = round(self._expiry * 1000), round(self._alive * 1000)
        self._process = secrets.token_hex(8)
        self._changing = threading.Condition()
        self._claims: dict[str, Claim] = {}  # by token: waiting and held
        self._in_doubt: list[Claim] = []  # given up, but Redis may still have them
        self._next_renewal = float("inf")
        self._watchdog: threading.Thread | None = None
        self._closed = False
        self._redis = RedisConnections(
            url,
            f"lock-wake:{self._process}",
            heard=self._heard,
            back=self._settle_doubts,
            changed=self._wake_all,
            without_it="its locks can't be acquired",
        )

    def check_engine(self) -> None:
        check_for_locks(self._redis, self._url, "LOCK_URL")

    def acquire(
        self,
        keys: Collection[str],
        deadline: Deadline,
        *,
        replacing: HeldLock | None = None,
        on_contended: Callable[[], None] | None = None,
    ) -> HeldLock:
        claim = Claim(
            f"{self._process}:{secrets.token_hex(8)}", sorted({self._prefix + key for key in keys}), on_contended
        )
        return self._acquire(claim, deadline, replacing if isinstance(replacing, Claim) else None)

    def release(self, held: HeldLock) -> None:
        why_lost = self._release_held(held) if isinstance(held, Claim) else ""
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

    def _acquire(self, claim: Claim, deadline: Deadline, last: Claim | None) -> HeldLock:
        if self._closed:
            raise LockBusy("the lock is closed")
        if not claim.keys:
            if last is not None:
                self._release_held(last)
            return NoKeys()
        self._redis.start()
        began = time.monotonic()
        self._claims[claim.token] = claim
        try:
            self._wait_for(claim, deadline, last)
        except RedisDown as down:
            self._forget(claim)
            raise LockUnavailable("the Redis that keeps the lock can't be reached") from down
        except BaseException:
            self._forget(claim)
            raise
        LOCK_WAIT.observe(time.monotonic() - began)
        return claim

    def _wait_for(self, claim: Claim, deadline: Deadline, last: Claim | None) -> None:
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
                # It was granted some time after `asked`: its time counts from there, or it has to ask again.
                in_time = claim.granted and not deadline.cancelled and time.monotonic() < asked + self._alive
                if in_time and self._hold(claim, asked, self._alive):
                    return
                if self._closed or deadline.passed:
                    raise LockBusy(f"could not acquire {len(claim.keys)} keys before the deadline")
        finally:
            if forget is not None:
                forget()

    def _ask(self, claim: Claim, deadline: Deadline, last: Claim | None) -> float:
        """Acquire its keys or queue for them: when to look again, in seconds; below zero when they are held."""
        claim.woken.clear()
        claim.granted = False
        claim.requested = claim.requested or self._redis.up
        alive = 0 if deadline.passed else self._alive_ms
        asked = (claim.token, self._expiry_ms, alive)
        if last is None:
            answer: int = self._redis.call(ACQUIRE, claim.keys, *asked)
        else:
            answer = self._swap(claim, last, asked)
        return answer / 1000

    def _swap(self, claim: Claim, last: Claim, asked: tuple[str, int, int]) -> int:
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

    def _hold(self, claim: Claim, since: float, seconds: float) -> bool:
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
        if claim is None:  # it gave up, and releases what it was granted
            return
        if word == "granted":
            claim.granted = True
            claim.woken.set()
        elif word == "contended":
            claim.contend()

    def _wake_all(self) -> None:
        """Redis went away or came back: waiters look again, and without Redis nobody keeps a lock for later."""
        gone = not self._redis.up
        for claim in list(self._claims.values()):
            claim.woken.set()
            if gone:
                claim.contend()

    def _forget(self, claim: Claim) -> None:
        """Give up waiting, and release what is granted at this very moment."""
        if self._claims.pop(claim.token, None) is not None:  # otherwise the lock was closed
            self._release(claim)

    def _release_held(self, claim: Claim) -> str:
        """Release what is held; why it was lost, or an empty text."""
        why_lost = claim.why_lost  # before the release: a renewal that comes later finds nothing either
        if self._claims.pop(claim.token, None) is not None:
            held = self._release(claim)
            if held is None:
                why_lost = why_lost or "Redis was down when the lock was released"
            elif held < len(claim.keys):
                why_lost = why_lost or "the lock expired or was taken over while it was held"
        if why_lost:
            LOCK_LOST.inc()
        return why_lost

    def _release(self, claim: Claim) -> int | None:
        """How many of its keys were still held; None when Redis is down."""
        try:
            return int(self._redis.call(RELEASE, claim.keys, claim.token, self._alive_ms))
        except RedisDown:
            if claim.requested:
                self._in_doubt.append(claim)
            return None

    def _settle_doubts(self) -> None:
        """Redis is back: claims that were given up meanwhile, and that it kept, would block everybody."""
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

    def _renew(self, claim: Claim) -> None:
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
        if claim.token in self._claims:  # otherwise it was released meanwhile
            claim.why_lost = why
