"""Picks the cache driver that a URL names."""

from common.cache.local import LocalCache
from common.cache.none import NoCache
from common.cache.port import Cache
from common.cache.redis import RedisCache
from common.cache.url import LocalUrl, parse_cache_url


def open_cache(url: str) -> Cache:
    """Make the cache that `url` names. Nothing is connected before the first read.

    Raises:
        ValueError: The URL is wrong; the text says what is allowed.
    """
    match parse_cache_url(url):
        case None:
            return NoCache()
        case LocalUrl(expiry, entries):
            return LocalCache(expiry, entries)
        case place:
            return RedisCache(place)
