"""Stock reads through a cache, which every change updates before its caller is answered.

How stale a read can be is the cache's rule (common/cache/port.py). That a sku does not exist is never cached: a new sku
is visible at once.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from common.cache.none import NoCache
from common.cache.port import Cache, Row
from common.database import from_micros, to_micros
from inventory_srv.domain.records import Stock
from inventory_srv.metrics import CACHE_HITS, CACHE_MISSES

_MOST_PEEKED: Final = 1000  # Redis takes no more than some thousands of keys at once


class StockCache:
    """Stocks by sku, over a cache.

    Args:
        cache: Where they are kept.
        database: The name of their database: services with other databases may share one Redis.
    """

    def __init__(self, cache: Cache, database: str) -> None:
        self._cache = cache
        self._prefix = f"stock:{database}:"

    @classmethod
    def none(cls) -> "StockCache":
        """One that keeps nothing."""
        return cls(NoCache(), "")

    def read(self, skus: Sequence[str], look_up: Callable[[Sequence[str]], Iterable[Stock]]) -> Mapping[str, Stock]:
        """The stocks of those skus that exist.

        Args:
            skus: Each once.
            look_up: Reads the rest from the database.
        """
        stocks, since = self._kept(skus)
        CACHE_HITS.inc(len(stocks))
        if len(stocks) < len(skus):
            CACHE_MISSES.inc(len(skus) - len(stocks))
            looked_up = {stock.sku: stock for stock in look_up([sku for sku in skus if sku not in stocks])}
            self._cache.fill(self._rows(looked_up.values()), since)
            stocks |= looked_up
        return stocks

    def peek(self, skus: Sequence[str]) -> list[Stock] | None:
        """The stocks of these skus (each once), in this order, perhaps stale; None: not all of them are cached."""
        if len(skus) > _MOST_PEEKED:
            return None
        stocks, _ = self._kept(skus)
        return list(stocks.values()) if len(stocks) == len(skus) else None

    def now(self) -> int:
        """The time for `changed`; call it before the transaction begins."""
        return self._cache.now()

    def changed(self, stocks: Iterable[Stock], since: int) -> None:
        """Keep committed stocks, before anybody is answered.

        Args:
            stocks: As committed; also those that were held and not changed, since their last writer may have been
                killed before it came here.
            since: What `now` returned before they were read.
        """
        self._cache.change(self._rows(stocks), since)

    def close(self) -> None:
        """Close the cache's engine."""
        self._cache.close()

    def _kept(self, skus: Sequence[str]) -> tuple[dict[str, Stock], int]:
        """What the cache has of these skus, in their order, and the time of the read."""
        keys = {self._prefix + sku: sku for sku in skus}
        rows, since = self._cache.read(list(keys))
        return {sku: _stock(sku, rows[key]) for key, sku in keys.items() if key in rows}, since

    def _rows(self, stocks: Iterable[Stock]) -> dict[str, Row]:
        return {self._prefix + stock.sku: _row(stock) for stock in stocks}


def _row(stock: Stock) -> Row:
    return stock.version, stock.available, stock.sold, to_micros(stock.update_time)


def _stock(sku: str, row: Row) -> Stock:
    version, available, sold, updated = row
    return Stock(sku, available, sold, version, from_micros(updated))
