"""A watcher that remembers what it was told."""

from common.discovery.port import Addresses, Discovery
from tests.support.waiting import wait_until


class Watching:
    """What was told about one service.

    Attributes:
        answer: Every list, in order.
    """

    def __init__(self) -> None:
        self.answer: list[Addresses] = []

    @property
    def last(self) -> Addresses:
        return self.answer[-1]

    def until(self, addresses: Addresses, timeout_s: float = 30.0) -> None:
        """Wait until this list is told."""
        wait_until(
            lambda: bool(self.answer) and self.last == addresses, f"{addresses} told, not {self.answer}", timeout_s
        )


def watching(discovery: Discovery, service: str) -> Watching:
    made = Watching()
    discovery.watch(service, made.answer.append)
    return made
