"""The stock lock, kept from one batch to the next while nobody else waits for it, and what is known of its rows.

The holder of a sku's lock is the only one to change its row. So a row that it read or wrote is still true: the next
batch need not read it again, and a sell that asks for more than is left is refused without a transaction
(`stock_memory.py`). Two safeguards do not depend on that. Every write still names the version that it changes, so that
a lost lock is detected; and a sell is refused from memory only when its order is known not to have bought before, since
a repeat gets its first answer.

This is the only place that decides what happens without the lock (`Outage`).
"""

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import timedelta
from typing import Final

import structlog

from common.deadline import Deadline
from common.lock.port import HeldLock, Lock, LockBusy, LockLost, LockUnavailable
from inventory_srv.adapters.stock_memory import ExpiringSet, StockMemory
from inventory_srv.domain.changes import Sell, WorkingSet
from inventory_srv.domain.errors import NoStock, StockBusy
from inventory_srv.domain.records import Stock
from inventory_srv.metrics import LOCK_UNGUARDED
from inventory_srv.settings import Outage

log = structlog.get_logger(__name__)

_TIMEOUT: Final[dict[Outage, timedelta]] = {"database": timedelta(seconds=0.15), "refuse": timedelta(seconds=5)}

_SHORT_TIMEOUT: Final = 0.05
"""Seconds to wait for the lock for a while after a wait timed out: whoever hangs holds many keys. It is longer than a
living holder needs to hear of it, and than a row may refuse sells from memory."""

_SHORT_FOR: Final = 5.0  # seconds

_SLICE: Final = 0.025
"""Seconds for which a contended lock may be kept: while sells are refused from memory, which needs the lock, and while
changes are made one by one, when it would be handed over for each."""

_BUSY_REFUSING: Final = 0.005
"""Seconds since the last refusal in which more are expected."""

_TRUSTED: Final = 0.5
"""Seconds for which a row is known."""

_MOST_BUYERS: Final = 10_000
"""Orders of one sku that are kept in memory; a sku with more is never refused from memory."""

_LOOK_AGAIN: Final = 1.0  # seconds between two lookups of the buyers of a sku that has more than that

FindBuyers = Callable[[str, int], Collection[str]]
"""The order_sns of those that bought a sku, at most so many."""


class StockLease:
    """Used by the writer's thread; any thread may ask it for a `known_refusal`.

    Args:
        lock: The lock.
        timeout: How long to wait for it; None: 0.15 s where work goes on without it, which is less than the order
            service waits for a sell; else 5 s. A living holder releases it within milliseconds, a dead one keeps it
            until it expires.
        outage: What to do without it: `database`, go on guarded by the rows alone; or `refuse`.
        keep: How long it is kept while there is nothing to do; zero: until the end of its batch.
        on_contended: Called when somebody else waits for it, on another thread.
    """

    def __init__(
        self,
        lock: Lock,
        *,
        timeout: timedelta | None,
        outage: Outage,
        keep: timedelta,
        on_contended: Callable[[], None],
    ) -> None:
        self._lock = lock
        self._timeout = (timeout or _TIMEOUT[outage]).total_seconds()
        self._outage = outage
        self._keep = keep.total_seconds()
        self._on_contended = on_contended
        self._short_until = 0.0
        self._available = True  # the lock's engine, when it was last used
        self._held: HeldLock | None = None
        self._skus: frozenset[str] = frozenset()
        self._since = self._used = self._refused = 0.0
        self._one_by_one = False
        self._crowded = ExpiringSet()  # skus with too many buyers, which are not looked up
        self._memory = StockMemory()

    def acquire(self, skus: Collection[str], latest: Deadline, *, one_by_one: bool = False) -> None:
        """Hold the lock of at least these skus, or go on without it; what is held and not needed is released.

        Args:
            skus: Of the next batch.
            latest: Until when somebody waits for the batch.
            one_by_one: Whether the batch is one of many waiting changes that are not merged.

        Raises:
            StockBusy: It could not be acquired, and the batch must not, or need not, go on without it.
            LockUnavailable: Its engine is down, and the batch must not go on without it.
        """
        self._one_by_one = one_by_one
        if not skus or self._still_has(skus):
            return
        last, self._held = self._held, None
        if last is not None and last.lost:
            log.warning("the stock lock was lost while it was kept")
        self._memory = StockMemory()
        held = self._acquired(skus, latest, last)
        if held is None:
            LOCK_UNGUARDED.inc()
            return
        self._held, self._skus = held, frozenset(skus)
        self._memory = StockMemory(held, self._skus)
        self._since = self._used = time.monotonic()

    def done(self) -> None:
        """A batch is over: release the lock if it can't be kept, or if others wait for it.

        They begin while this batch's callers get their answers.
        """
        self._used = time.monotonic()
        held = self._held
        if held is not None and (held.lost or not self._keep or self._is_due(held)):
            self.release()

    def release(self) -> None:
        """Release what is held, and forget its rows."""
        held, self._held = self._held, None
        self._memory = StockMemory()
        if held is None:
            return
        try:
            self._lock.release(held)
        except LockLost:
            # No harm: the rows were held. But the lock expires too soon, or its holder was stopped.
            log.warning("the stock lock was lost before its batch was done")

    def spare_time(self) -> float | None:
        """For how many seconds it may still be kept with nothing to do; None: nothing is held."""
        if self._held is None:
            return None
        now = time.monotonic()
        last = max(self._used, self._refused)
        until = last + self._keep
        if self._held.contended:
            # A caller that was just refused is about to ask again.
            until = min(self._since + _SLICE, last + _BUSY_REFUSING) if self._memory.refuses else now
        return max(0.0, until - now)

    @property
    def holds(self) -> bool:
        """Whether the lock is held, so that nobody else changes these rows."""
        return self._held is not None and not self._held.lost

    def known(self, skus: Sequence[str]) -> list[Stock] | None:
        """The rows of these skus, in this order; None: not all of them are known."""
        rows = self._memory.rows
        now = time.monotonic()
        known = [rows[sku] for sku in skus if sku in rows]
        if len(known) < len(skus) or any(now - since >= _TRUSTED for _, since in known):
            return None
        return [stock for stock, _ in known]

    def remember(self, working_set: WorkingSet) -> None:
        """Know what was committed."""
        if self.holds and self._keep:
            self._memory.put(working_set, time.monotonic())

    def forget(self) -> None:
        """Something went wrong: read everything again."""
        self._memory = StockMemory(self._held, self._skus)

    def learn_buyers(self, skus: Iterable[str], find_buyers: FindBuyers) -> None:
        """Know who bought these skus, as far as their rows are known."""
        for sku in skus:
            if not self._memory.lacks_buyers(sku) or self._crowded.any_of([sku]):
                continue
            buyers = find_buyers(sku, _MOST_BUYERS + 1)
            if len(buyers) <= _MOST_BUYERS:
                self._memory.know_buyers(sku, buyers)
            else:
                self._crowded.add([sku], _LOOK_AGAIN)

    def known_refusal(self, sell: Sell) -> NoStock | None:
        """Why a sell is certain to be refused, as it asks for more than there is; None: it may sell."""
        short = self._memory.short(sell)
        if not short:
            return None
        self._refused = time.monotonic()
        return NoStock(short)

    def _acquired(self, skus: Collection[str], latest: Deadline, last: HeldLock | None) -> HeldLock | None:
        """The lock of these skus; None: go on without it."""
        deadline = Deadline(min(latest.at, Deadline.after(self._time_to_wait()).at))
        try:
            held = self._lock.acquire(
                [f"lock:stock:{sku}" for sku in skus], deadline, replacing=last, on_contended=self._on_contended
            )
        except LockBusy as busy:
            if self._outage == "refuse" or latest.passed:
                raise StockBusy(len(skus)) from busy
            # Its holder may be dead, and the lock its own until it expires: sales do not wait for that.
            self._note_timeout()
            return None
        except LockUnavailable as unavailable:
            if self._outage == "refuse":
                raise
            if self._available:
                log.warning("without the stock lock: changes are guarded by their rows alone", error=str(unavailable))
            self._available = False
            return None
        self._available = True
        return held

    def _still_has(self, skus: Collection[str]) -> bool:
        held = self._held
        if held is None or held.lost or not self._skus.issuperset(skus):
            return False
        return not self._is_due(held)

    def _is_due(self, held: HeldLock) -> bool:
        """Whether it is others' turn."""
        has_its_time = self._memory.refuses or self._one_by_one
        return held.contended and not (has_its_time and time.monotonic() < self._since + _SLICE)

    def _time_to_wait(self) -> float:
        short = time.monotonic() < self._short_until and self._outage == "database"
        return min(self._timeout, _SHORT_TIMEOUT) if short else self._timeout

    def _note_timeout(self) -> None:
        now = time.monotonic()
        if now >= self._short_until:
            log.warning("the stock lock timed out: what it locks is guarded by its rows alone, and waits are short now")
            self._short_until = now + _SHORT_FOR
