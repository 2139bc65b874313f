"""Picks the discovery driver that a URL names."""

from urllib.parse import urlsplit

from common.discovery.consul.url import ALLOWED_URL, parse_consul_url
from common.discovery.consul.url import SCHEMES as CONSUL_SCHEMES
from common.discovery.port import Discovery
from common.discovery.static import StaticDiscovery


def open_discovery(url: str) -> Discovery:
    """Make the registry that `url` names. Nothing is connected before something is registered or watched.

    Raises:
        ValueError: The URL is wrong; the text says what is allowed.
    """
    scheme = urlsplit(url).scheme
    if scheme == "static":
        return StaticDiscovery(url)
    if scheme in CONSUL_SCHEMES:
        # Its client takes 0.2 s and 10 MB to import, which a service without Consul should not pay.
        from common.discovery.consul.registry import ConsulDiscovery  # noqa: PLC0415

        return ConsulDiscovery(parse_consul_url(url))
    raise ValueError(f"unknown kind of registry {scheme!r}; allowed is static://?SERVICE=HOST:PORT or {ALLOWED_URL}")
