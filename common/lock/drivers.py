"""Picks the lock driver that a URL names."""

from urllib.parse import urlsplit

from common.lock.local import LocalLock
from common.lock.port import Lock
from common.lock.redis.lock import RedisLock
from common.redis.url import SCHEMES as REDIS_SCHEMES
from common.redis.url import parse_redis_url


def open_lock(url: str) -> Lock:
    """Make the lock that `url` names. Nothing is connected before the first key is acquired.

    Args:
        url: local://, or a URL that common/redis/url.py describes.

    Raises:
        ValueError: The URL is wrong; the text says what is allowed.
    """
    scheme = urlsplit(url).scheme
    if scheme == "local":
        return LocalLock()
    if scheme in REDIS_SCHEMES:
        return RedisLock(parse_redis_url(url))
    raise ValueError(f"unknown kind of lock {scheme!r}; allowed is local://, {'://, '.join(REDIS_SCHEMES)}://")
