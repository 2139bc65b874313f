"""What is known of stock rows while their lock is held."""

import time
from collections.abc import Collection, Iterable
from typing import Final

from common.lock.port import HeldLock
from inventory_srv.domain.changes import Sell, WorkingSet
from inventory_srv.domain.records import Stock

_MOST_SKUS: Final = 1_000

_TRUSTED_TO_REFUSE: Final = 0.04
"""Seconds for which a row may refuse a sell: less than anybody waits for the lock who then goes on without it. A sale
that rests on an older row is found out when it is written; a refusal writes nothing."""

KnownStock = tuple[Stock, float]
"""A stock, and since when it is known, by the monotonic clock."""


class ExpiringSet:
    """Skus, each a member for a time of its own."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def any_of(self, skus: Iterable[str]) -> bool:
        """Whether one of them is a member now."""
        now = time.monotonic()
        return any(now < self._until.get(sku, 0.0) for sku in skus)

    def add(self, skus: Iterable[str], seconds: float) -> None:
        now = time.monotonic()
        still = {sku: until for sku, until in self._until.items() if now < until}
        self._until = still | dict.fromkeys(skus, now + seconds)


class StockMemory:
    """What is known while one lock is held; replaced as a whole, so that no thread finds half of another's.

    Args:
        held: The lock; None: nothing is known.
        skus: The skus that it locks.

    Attributes:
        rows: By sku.
    """

    def __init__(self, held: HeldLock | None = None, skus: Collection[str] = ()) -> None:
        self.rows: dict[str, KnownStock] = {}
        self._held = held
        self._skus = skus
        self._buyers: dict[str, set[str]] = {}

    @property
    def refuses(self) -> bool:
        """Whether there is a sku that was short, whose buyers are known."""
        return bool(self._buyers)

    def put(self, working_set: WorkingSet, now: float) -> None:
        """Know the rows of a committed working set since now."""
        if len(self.rows) > _MOST_SKUS:
            self.rows.clear()
            self._buyers.clear()
        # Buyers first: a row never shows a sale whose order is not among them.
        if self._buyers:
            for sale in working_set.new_sales():
                for sku, _ in sale.lines:
                    if sku in self._buyers:
                        self._buyers[sku].add(sale.order_sn)
        for stock in working_set.confirmed_stocks():
            if stock.sku in self._skus:
                self.rows[stock.sku] = stock, now

    def lacks_buyers(self, sku: str) -> bool:
        return sku in self.rows and sku not in self._buyers

    def know_buyers(self, sku: str, buyers: Collection[str]) -> None:
        self._buyers[sku] = set(buyers)

    def short(self, sell: Sell) -> list[tuple[str, int, int]]:
        """(sku, asked, available) of every sku that is short; empty where that is not certain."""
        if self._held is None or self._held.lost:
            return []
        now = time.monotonic()
        short = []
        for sku, quantity in sell.lines:
            stock, since = self.rows.get(sku, (None, 0.0))
            if stock is None or now - since >= _TRUSTED_TO_REFUSE:
                return []
            if quantity > stock.available:
                short.append((sku, quantity, stock.available))
        buyers = self._buyers.get(short[0][0]) if short else None
        return [] if buyers is None or sell.order_sn in buyers else short
