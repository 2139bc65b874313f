"""Addresses that never change, written in the URL: `static://?inventory-srv=127.0.0.1:50052`."""

from collections.abc import Callable
from urllib.parse import urlsplit

from common.addresses import split_address
from common.discovery.port import Addresses, Discovery


class StaticDiscovery(Discovery):
    """Knows what its URL says and nothing else: registering changes nothing, no list ever changes.

    Args:
        url: `static://?SERVICE=HOST:PORT[,HOST:PORT…]&SERVICE=…`; `static://` alone knows nobody.

    Raises:
        ValueError: Naming the part of the URL that is malformed.
    """

    def __init__(self, url: str) -> None:
        self._addresses = parse_static_url(url)

    def register(self, service: str, address: str) -> None: ...

    def deregister(self, service: str, address: str) -> None: ...

    def watch(self, service: str, on_change: Callable[[Addresses], None]) -> None:
        on_change(self._addresses.get(service, ()))

    def close(self) -> None: ...


def parse_static_url(url: str) -> dict[str, Addresses]:
    """The addresses of every service that a `static://` URL names.

    Raises:
        ValueError: Naming the part of the URL that is malformed.
    """
    parts = urlsplit(url)
    if parts.scheme != "static" or parts.netloc or parts.path or parts.fragment:
        raise ValueError(f"{url!r} is not of the form static://?SERVICE=HOST:PORT")
    found: dict[str, Addresses] = {}
    for field in filter(None, parts.query.split("&")):
        service, _, addresses = field.partition("=")
        if not service or service in found:
            raise ValueError(f"{field!r} does not name a service of its own")
        found[service] = tuple(sorted({_instance(address) for address in addresses.split(",")}))
    return found


def _instance(address: str) -> str:
    host, port = split_address(address)
    if port == 0:
        raise ValueError(f"{address!r} has no port to call")
    return f"{host}:{port}"
