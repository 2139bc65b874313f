"""Addresses that never change, written in the URL: `static://?order-srv=127.0.0.1:50051`."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from common.addresses import split_address
from common.discovery.port import Addresses, Discovery, DiscoveryUrl


class StaticUrl(DiscoveryUrl):
    """Where services are; `static://` alone knows none.

    Attributes:
        addresses: Of each service.
    """

    form: ClassVar[str] = "static://?SERVICE=HOST:PORT, several as static://?SERVICE=HOST:PORT,HOST:PORT&SERVICE=…"

    addresses: dict[str, Addresses]

    def may_know(self, service: str) -> bool:
        return service in self.addresses

    @classmethod
    def parameters_of(cls, pairs: Mapping[str, str]) -> Mapping[str, Any]:
        return {
            "addresses": {
                service: tuple(sorted({_instance(service, address) for address in addresses.split(",")}))
                for service, addresses in pairs.items()
            }
        }

    @classmethod
    def is_public(cls, parameter: str) -> bool:  # noqa: ARG003 - the names of services
        return True


class StaticDiscovery(Discovery):
    """Knows what its URL says and nothing else: registering changes nothing, no list ever changes."""

    def __init__(self, url: StaticUrl) -> None:
        self._addresses = url.addresses

    def register(self, service: str, address: str) -> None: ...

    def deregister(self, service: str, address: str) -> None: ...

    def watch(self, service: str, on_change: Callable[[Addresses], None]) -> None:
        on_change(self._addresses.get(service, ()))

    def close(self) -> None: ...


def _instance(service: str, address: str) -> str:
    try:
        host, port = split_address(address)
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError(f"{service} must be host:port or host:port,host:port, each with a port above 0")
    return f"{host}:{port}"
