"""What the inventory service counts besides what every service does (`common/metrics.py`)."""

from typing import Final

from prometheus_client import Counter

LOCK_UNGUARDED: Final = Counter(
    "reback_lock_unguarded", "Batches that went on without the stock lock, guarded by their rows alone."
)
CACHE_HITS: Final = Counter("reback_cache_hits", "Stocks that were read from the cache.")
CACHE_MISSES: Final = Counter("reback_cache_misses", "Stocks that the cache did not have, or that do not exist.")
