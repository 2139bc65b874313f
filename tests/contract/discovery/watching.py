"""A watcher that remembers what it was told."""

from common.discovery.port import Addresses, Discovery
from tests.support.services import wait_until


class Watching:
    """What was told about one service.

    Attributes:
        told: Every list, in order.
    """

    def __init__(self) -> None:
        self.told: list[Addresses] = []

    @property
    def last(self) -> Addresses:
        return self.told[-1]

    def until(self, addresses: Addresses, within: float = 30.0) -> None:
        """Wait until this list is told."""
        wait_until(lambda: bool(self.told) and self.last == addresses, f"{addresses} told, not {self.told}", within)


def watching(discovery: Discovery, service: str) -> Watching:
    made = Watching()
    discovery.watch(service, made.told.append)
    return made
