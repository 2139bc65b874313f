"""Which locks there are, by the schemes of their URLs."""

from typing import Final

from common.driver_table import Driver, Drivers
from common.driver_url import DriverUrl
from common.lock.port import Lock

_REDIS: Final = Driver("common.lock.redis.url:RedisLockUrl", "common.lock.redis.lock:RedisLock")

LOCKS: Final = Drivers[Lock](
    {
        "local": Driver("common.lock.local:LocalLockUrl", "common.lock.local:open_local"),
        "redis": _REDIS,
        "rediss": _REDIS,
        "redis+sentinel": _REDIS,
        "rediss+sentinel": _REDIS,
    }
)


def open_lock(url: str | DriverUrl) -> Lock:
    """Make the lock that `url` names. Nothing is connected before the first key is acquired.

    Args:
        url: One of `LOCKS`.

    Raises:
        ValueError: The URL is wrong; the text says what is allowed, and has no secret.
    """
    return LOCKS.open(url)
