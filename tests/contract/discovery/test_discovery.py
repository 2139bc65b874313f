"""What every registry does, whatever it stands on."""

from tests.contract.discovery.conftest import Case
from tests.contract.discovery.watching import watching


def test_a_watcher_is_told_before_watch_returns_every_address_sorted(case: Case) -> None:
    assert watching(case.discovery, case.pair).answer == [case.known[case.pair]]
    assert watching(case.discovery, case.single).answer == [case.known[case.single]]


def test_many_may_watch_one_service(case: Case) -> None:
    first, second = watching(case.discovery, case.single), watching(case.discovery, case.single)
    assert first.last == second.last == case.known[case.single]


def test_a_service_that_nobody_offers_has_no_address(case: Case) -> None:
    assert watching(case.discovery, "nobody-srv").answer == [()]


def test_registering_and_twice_deregistering_are_harmless(case: Case) -> None:
    service = f"payment-{case.single}"
    case.discovery.register(service, "127.0.0.1:1")
    case.discovery.register(service, "127.0.0.1:1")
    case.discovery.deregister(service, "127.0.0.1:1")
    case.discovery.deregister(service, "127.0.0.1:1")
    assert watching(case.discovery, service).answer == [()]
    assert watching(case.discovery, case.pair).answer == [case.known[case.pair]]


def test_deregistering_what_was_never_registered_is_harmless(case: Case) -> None:
    case.discovery.deregister(case.single, case.known[case.single][0])
    assert watching(case.discovery, case.single).answer == [case.known[case.single]]


def test_closing_twice_is_harmless(case: Case) -> None:
    watching(case.discovery, case.pair)
    case.discovery.close()
    case.discovery.close()
