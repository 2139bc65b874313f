"""The stock lock, kept from one batch to the next while nobody else wants it, and what is known of its rows meanwhile.

Who holds the lock of a sku is the only one to change its row. So what was read of it, or written to it, is still true:
the next batch need not read it again, and a sell that asks for more is refused without a transaction. Two things do not
depend on that. Every write still names the version that it changes, so that a lock that was lost is found out; and a
sell is only refused from memory when its order is known not to have bought before, for a repeat gets its first answer.
"""

import time
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import timedelta
from typing import Final

import structlog

from common.deadline import Deadline
from common.lock.port import Held, Lock, LockBusy, LockLost, Outage
from common.metrics import LOCK_UNGUARDED
from inventory_srv.domain.changes import Sell, WorkingSet
from inventory_srv.domain.errors import NoStock
from inventory_srv.domain.records import Stock

log = structlog.get_logger(__name__)

_PATIENCE: Final[dict[Outage, timedelta]] = {"database": timedelta(seconds=1), "refuse": timedelta(seconds=5)}

_NOT_WAITED_FOR: Final = 5.0
"""Seconds in which a key is tried but not waited for, after a wait for it was in vain."""

_SLICE: Final = 0.025
"""Seconds since it was taken in which a lock that others want may be kept: while something is refused from memory, for
that needs the lock, and while changes are made one by one, which would hand it over for each."""

_BUSY_REFUSING: Final = 0.005
"""Seconds since the last refusal in which refusing goes on."""

_TRUSTED: Final = 0.5
"""Seconds in which a row is known. A replica that waits for the lock in vain goes on without it, but only later."""

_MOST_BUYERS: Final = 10_000
"""Orders of one sku that are kept in memory; a sku with more is never refused from memory."""

_MOST_SKUS: Final = 1_000
_LOOK_AGAIN: Final = 1.0  # seconds between two looks for the buyers of a sku that has more than that

LookUp = Callable[[str, int], Collection[str]]
"""The order_sns of those that bought a sku, at most so many."""


class StockLease:
    """Used by the writer's thread; any thread may let it `refuse_what_is_sold_out`.

    Args:
        lock: The lock.
        patience: How long to wait for it; None: 1 s where work goes on without it, else 5 s. A living holder gives it
            back within milliseconds, a dead one keeps it until it expires.
        outage: What then: `database`, go on guarded by the rows alone; or `refuse`, tell the callers STOCK_BUSY.
        keep: For how long it is kept while there is nothing to do; zero: until the end of its batch.
        on_contended: Called when somebody else wants it, on another thread.
    """

    def __init__(
        self,
        lock: Lock,
        *,
        patience: timedelta | None,
        outage: Outage,
        keep: timedelta,
        on_contended: Callable[[], None],
    ) -> None:
        self._lock = lock
        self._patience = (patience or _PATIENCE[outage]).total_seconds()
        self._outage = outage
        self._keep = keep.total_seconds()
        self._on_contended = on_contended
        self._in_vain = ExpiringSet()  # skus not had, which are not waited for
        self._held: Held | None = None
        self._skus: frozenset[str] = frozenset()
        self._since = self._used = self._refused = 0.0
        self._one_by_one = False
        self._crowded = ExpiringSet()  # skus with too many buyers, which are not looked for
        self._memory = _Memory()

    def take(self, skus: Collection[str], latest: Deadline, *, one_by_one: bool = False) -> None:
        """Hold the lock of at least these skus, or go on without them; what was held and is not needed is given back.

        Args:
            skus: Of the next batch.
            latest: Until when somebody waits for it.
            one_by_one: Whether the batch is one of many changes that wait and are not merged.

        Raises:
            LockBusy: They were not had, and nothing is to be done then.
        """
        self._one_by_one = one_by_one
        if not skus or self._still_has(skus):
            return
        last, self._held = self._held, None
        if last is not None and last.lost:
            log.warning("the stock lock was lost while it was kept")
        self._memory = _Memory()
        patience = Deadline(min(latest.at, Deadline.after(self._patience_for(skus)).at))
        try:
            held = self._lock.take(
                [f"lock:stock:{sku}" for sku in skus], patience, replacing=last, on_contended=self._on_contended
            )
        except LockBusy:
            if self._outage == "refuse" or latest.passed:
                raise
            # Its holder may be dead, and the lock its own until it expires: nobody's sales wait for that.
            LOCK_UNGUARDED.inc()
            self._note_in_vain(skus)
            return
        self._held, self._skus = held, frozenset(skus)
        self._memory = _Memory(held, self._skus)
        self._since = self._used = time.monotonic()

    def done(self) -> None:
        """A batch is over: give back what can't be kept, and what others wait for, who begin while callers are told."""
        self._used = time.monotonic()
        held = self._held
        if held is not None and (held.lost or not self._keep or self._is_due(held)):
            self.let_go()

    def let_go(self) -> None:
        """Give back what is held, and know nothing any more."""
        held, self._held = self._held, None
        self._memory = _Memory()
        if held is None:
            return
        try:
            self._lock.give_back(held)
        except LockLost:
            # No harm: the rows were held. It tells that the lock expires too soon, or that a holder was stopped.
            log.warning("the stock lock was lost before its batch was done")

    def spare_time(self) -> float | None:
        """For how many seconds it may still be kept with nothing to do; None: nothing is held."""
        if self._held is None:
            return None
        now = time.monotonic()
        last = max(self._used, self._refused)
        until = last + self._keep
        if self._held.wanted:
            # Whoever was just told that it is sold out is about to ask again.
            until = min(self._since + _SLICE, last + _BUSY_REFUSING) if self._memory.refuses else now
        return max(0.0, until - now)

    @property
    def holds(self) -> bool:
        """Whether the lock is held, so that nobody else changes these rows."""
        return self._held is not None and not self._held.lost

    def known(self, skus: Sequence[str]) -> list[Stock] | None:
        """The rows of these skus, in this order, where all of them are known."""
        rows = self._memory.rows
        now = time.monotonic()
        known = [rows[sku] for sku in skus if sku in rows]
        if len(known) < len(skus) or any(now >= until for _, until in known):
            return None
        return [stock for stock, _ in known]

    def remember(self, working_set: WorkingSet) -> None:
        """Know what was committed."""
        if self.holds and self._keep:
            self._memory.put(working_set, time.monotonic() + _TRUSTED)

    def forget(self) -> None:
        """Something went wrong: read everything again."""
        self._memory = _Memory(self._held, self._skus)

    def learn_buyers(self, skus: Iterable[str], look_up: LookUp) -> None:
        """Know who bought these skus, whose row is known."""
        for sku in skus:
            if not self._memory.lacks_buyers(sku) or self._crowded.any_of([sku]):
                continue
            buyers = look_up(sku, _MOST_BUYERS + 1)
            if len(buyers) <= _MOST_BUYERS:
                self._memory.know_buyers(sku, buyers)
            else:
                self._crowded.add([sku], _LOOK_AGAIN)

    def refuse_what_is_sold_out(self, sell: Sell) -> None:
        """Refuse a sell that would certainly be refused.

        Raises:
            NoStock: It asks for more than there is.
        """
        short = self._memory.short(sell)
        if short:
            self._refused = time.monotonic()
            raise NoStock(short)

    def _still_has(self, skus: Collection[str]) -> bool:
        held = self._held
        if held is None or held.lost or not self._skus.issuperset(skus):
            return False
        return not self._is_due(held)

    def _is_due(self, held: Held) -> bool:
        """Whether it is others' turn."""
        has_its_time = self._memory.refuses or self._one_by_one
        return held.wanted and not (has_its_time and time.monotonic() < self._since + _SLICE)

    def _patience_for(self, skus: Collection[str]) -> float:
        return 0.0 if self._in_vain.any_of(skus) and self._outage == "database" else self._patience

    def _note_in_vain(self, skus: Collection[str]) -> None:
        if not self._in_vain.any_of(skus):
            log.warning("the stock lock was not had in time: the rows alone guard for now", skus=len(skus))
            self._in_vain.add(skus, _NOT_WAITED_FOR)


class ExpiringSet:
    """Skus of which something is so, each for a time of its own."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def any_of(self, skus: Iterable[str]) -> bool:
        """Whether it is so of one of them."""
        now = time.monotonic()
        return any(now < self._until.get(sku, 0.0) for sku in skus)

    def add(self, skus: Iterable[str], seconds: float) -> None:
        now = time.monotonic()
        still = {sku: until for sku, until in self._until.items() if now < until}
        self._until = still | dict.fromkeys(skus, now + seconds)


class _Memory:
    """What is known while one lock is held; thrown away as a whole, so that no thread finds half of another's.

    Args:
        held: The lock; None: nothing is known.
        skus: What it is of.

    Attributes:
        rows: Stocks by sku, and until when each is known.
    """

    def __init__(self, held: Held | None = None, skus: Collection[str] = ()) -> None:
        self.rows: dict[str, tuple[Stock, float]] = {}
        self._held = held
        self._skus = skus
        self._buyers: dict[str, set[str]] = {}

    @property
    def refuses(self) -> bool:
        """Whether there is a sku that was short, whose buyers are known."""
        return bool(self._buyers)

    def put(self, working_set: WorkingSet, until: float) -> None:
        if len(self.rows) > _MOST_SKUS:
            self.rows.clear()
            self._buyers.clear()
        # Buyers first: a row never tells of a sale whose order is not among them.
        if self._buyers:
            for sale in working_set.new_sales():
                for sku, _ in sale.lines:
                    if sku in self._buyers:
                        self._buyers[sku].add(sale.order_sn)
        for stock in working_set.confirmed_stocks():
            if stock.sku in self._skus:
                self.rows[stock.sku] = stock, until

    def lacks_buyers(self, sku: str) -> bool:
        return sku in self.rows and sku not in self._buyers

    def know_buyers(self, sku: str, buyers: Collection[str]) -> None:
        self._buyers[sku] = set(buyers)

    def short(self, sell: Sell) -> list[tuple[str, int, int]]:
        """(sku, asked, available) of every sku that is short; nothing where that is not certain."""
        if self._held is None or self._held.lost:
            return []
        now = time.monotonic()
        short = []
        for sku, quantity in sell.lines:
            stock, until = self.rows.get(sku, (None, 0.0))
            if stock is None or now >= until:
                return []
            if quantity > stock.available:
                short.append((sku, quantity, stock.available))
        buyers = self._buyers.get(short[0][0]) if short else None
        return [] if buyers is None or sell.order_sn in buyers else short
