"""Which caches there are, by the schemes of their URLs."""

from typing import Final

from common.cache.port import Cache
from common.driver_table import Driver, Drivers
from common.driver_url import DriverUrl

_REDIS: Final = Driver("common.cache.redis:RedisCacheUrl", "common.cache.redis:RedisCache")

CACHES: Final = Drivers[Cache](
    {
        "local": Driver("common.cache.local:LocalCacheUrl", "common.cache.local:open_local"),
        "none": Driver("common.cache.none:NoCacheUrl", "common.cache.none:open_none"),
        "redis": _REDIS,
        "rediss": _REDIS,
        "redis+sentinel": _REDIS,
        "rediss+sentinel": _REDIS,
    }
)


def open_cache(url: str | DriverUrl) -> Cache:
    """Make the cache that `url` names. Nothing is connected before the first read.

    Raises:
        ValueError: The URL is wrong; the text says what is allowed, and has no secret.
    """
    return CACHES.open(url)
