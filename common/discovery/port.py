"""The discovery port: services register themselves and find each other by name."""

from abc import ABC, abstractmethod
from collections.abc import Callable

from common.driver_url import DriverUrl

Addresses = tuple[str, ...]
"""`host:port` of every instance that can be called, sorted."""


class DiscoveryUrl(DriverUrl):
    """What a registry's URL says."""

    def may_know(self, service: str) -> bool:  # noqa: ARG002 - of registries that are asked
        """Whether `service` can be found there, as far as the URL tells."""
        return True


class Discovery(ABC):
    """Where services are."""

    @abstractmethod
    def register(self, service: str, address: str) -> None:
        """Tell others that `service` can be called at `address` (`host:port`) from now on."""

    @abstractmethod
    def deregister(self, service: str, address: str) -> None:
        """Take a registration back. Twice is harmless."""

    @abstractmethod
    def watch(self, service: str, on_change: Callable[[Addresses], None]) -> None:
        """Call `on_change` with the addresses of `service` at once, and again whenever they change.

        The last good list stays in force while the registry is down or knows nobody.
        """

    @abstractmethod
    def close(self) -> None:
        """Stop watching; what is still registered is deregistered."""
