"""What every registry does, whatever it stands on."""

from common.discovery.port import Addresses, Discovery
from tests.contract.discovery.conftest import KNOWN


def watched(discovery: Discovery, service: str) -> Addresses | None:
    """What a new watcher is told before `watch` returns."""
    told: list[Addresses] = []
    discovery.watch(service, told.append)
    return told[-1] if told else None


def test_a_watcher_is_told_at_once_every_address_sorted(discovery: Discovery) -> None:
    assert watched(discovery, "inventory-srv") == KNOWN["inventory-srv"]
    assert watched(discovery, "order-srv") == KNOWN["order-srv"]


def test_many_may_watch_one_service(discovery: Discovery) -> None:
    assert watched(discovery, "order-srv") == watched(discovery, "order-srv") == KNOWN["order-srv"]


def test_a_service_that_nobody_offers_has_no_address(discovery: Discovery) -> None:
    assert watched(discovery, "nobody-srv") == ()


def test_registering_and_twice_deregistering_are_harmless(discovery: Discovery) -> None:
    discovery.register("payment-srv", "127.0.0.1:50053")
    discovery.deregister("payment-srv", "127.0.0.1:50053")
    discovery.deregister("payment-srv", "127.0.0.1:50053")
    assert watched(discovery, "inventory-srv") == KNOWN["inventory-srv"]


def test_closing_twice_is_harmless(discovery: Discovery) -> None:
    discovery.close()
    discovery.close()
