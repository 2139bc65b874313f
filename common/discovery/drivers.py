"""Which registries there are, by the schemes of their URLs."""

from typing import Final

from common.discovery.port import Discovery, DiscoveryUrl
from common.driver_table import Driver, Drivers

# Consul's client takes 0.2 s and 10 MB to import, which only its users pay.
_CONSUL: Final = Driver("common.discovery.consul.url:ConsulUrl", "common.discovery.consul.registry:ConsulDiscovery")

REGISTRIES: Final = Drivers[Discovery](
    {
        "static": Driver("common.discovery.static:StaticUrl", "common.discovery.static:StaticDiscovery"),
        "consul": _CONSUL,
        "consul+https": _CONSUL,
    }
)


def open_discovery(url: str | DiscoveryUrl) -> Discovery:
    """Make the registry that `url` names. Nothing is connected before something is registered or watched.

    Raises:
        ValueError: The URL is wrong; the text says what is allowed, and has no secret.
    """
    return REGISTRIES.open(url)
