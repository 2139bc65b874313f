"""Picks the discovery driver that a URL names."""

from urllib.parse import urlsplit

from common.discovery.port import Discovery
from common.discovery.static import StaticDiscovery


def open_discovery(url: str) -> Discovery:
    """Make the registry that `url` names.

    Raises:
        ValueError: The URL is wrong; the text says what is allowed.
    """
    scheme = urlsplit(url).scheme
    if scheme != "static":
        raise ValueError(f"unknown kind of registry {scheme!r}; allowed is static://?SERVICE=HOST:PORT")
    return StaticDiscovery(url)
