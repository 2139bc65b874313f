"""Picks the lock driver that a URL names."""

from urllib.parse import urlsplit

from common.lock.local import LocalLock
from common.lock.port import Lock


def open_lock(url: str) -> Lock:
    """Make the lock that `url` names.

    Raises:
        ValueError: The URL is wrong; the text says what is allowed.
    """
    scheme = urlsplit(url).scheme
    if scheme != "local":
        raise ValueError(f"unknown kind of lock {scheme!r}; allowed is local://")
    return LocalLock()
