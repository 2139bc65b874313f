"""Consul: who is found, who is not, and when."""

import time
from collections.abc import Iterator
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import requests
from grpc_health.v1 import health_pb2

from common.discovery.port import Discovery
from tests.contract.discovery.conftest import QUICK, opened, serving
from tests.contract.discovery.watching import watching
from tests.support.engines import CONSUL_URL
from tests.support.waiting import wait_until


@pytest.fixture
def service() -> str:
    """A name of the test's own."""
    return f"inventory-srv-{uuid4().hex[:8]}"


@pytest.fixture
def discovery() -> Iterator[Discovery]:
    with opened(f"{CONSUL_URL}?{QUICK}") as made:
        yield made


def registered(service: str) -> list[dict[str, object]]:
    """The service's entries, whether they pass or not."""
    address = urlsplit(CONSUL_URL).netloc
    with requests.Session() as session:
        session.trust_env = False
        return list(session.get(f"http://{address}/v1/health/service/{service}", timeout=5).json())


def test_an_instance_is_found_when_it_passes_its_check_and_gone_when_it_fails(
    discovery: Discovery, service: str
) -> None:
    watched = watching(discovery, service)
    with serving() as first, serving() as second:
        discovery.register(service, first.address)
        watched.until((first.address,))
        discovery.register(service, second.address)
        watched.until(tuple(sorted((first.address, second.address))))
        first._health.set("", health_pb2.HealthCheckResponse.NOT_SERVING)  # it lives, and says that it is not well
        watched.until((second.address,))


def test_pitfall_17_who_never_passed_its_check_is_never_found(discovery: Discovery, service: str) -> None:
    watched = watching(discovery, service)
    discovery.register(service, "127.0.0.1:1")
    with serving() as well:
        discovery.register(service, well.address)
        watched.until((well.address,))
        wait_until(
            lambda: any("critical" in str(each["Checks"]) for each in registered(service)), "the other one's check"
        )
        assert watched.answer == [(), (well.address,)]


def test_who_deregisters_is_gone_at_once_without_a_check(service: str) -> None:
    with serving() as first, serving() as second, opened(f"{CONSUL_URL}?interval=5") as discovery:
        for server in (first, second):
            discovery.register(service, server.address)
        watched = watching(discovery, service)
        watched.until(tuple(sorted((first.address, second.address))))
        discovery.deregister(service, first.address)
        watched.until((second.address,), timeout_s=2)


def test_the_last_good_list_stays_when_consul_knows_nobody_any_more(discovery: Discovery, service: str) -> None:
    watched = watching(discovery, service)
    with serving() as server:
        discovery.register(service, server.address)
        watched.until((server.address,))
        discovery.deregister(service, server.address)
        wait_until(lambda: not registered(service), "nobody is registered")
        late = watching(discovery, service)
        assert late.answer == [()]  # who asks now never had a good list
        with serving() as next_one:
            discovery.register(service, next_one.address)
            watched.until((next_one.address,))
    assert watched.answer == [(), (server.address,), (next_one.address,)]


def test_a_restart_at_the_same_place_takes_the_old_entry_over(service: str) -> None:
    with serving() as server, opened(f"{CONSUL_URL}?{QUICK}") as killed:
        killed.register(service, server.address)
        watched = watching(killed, service)
        watched.until((server.address,))
        with opened(f"{CONSUL_URL}?{QUICK}") as again:
            again.register(service, server.address)
            (entry,) = registered(service)
            assert entry["Service"]["ID"] == f"{service}-{server.address.replace(':', '-')}"  # type: ignore[index]
            assert watched.answer in ([(server.address,)], [(), (server.address,)])  # and nobody saw it go


def test_the_entry_has_the_check_that_the_url_asks_for(service: str) -> None:
    with serving() as server, opened(f"{CONSUL_URL}?interval=0.5&check_timeout=0.25&deregister_after=90") as discovery:
        discovery.register(service, server.address)
        watching(discovery, service).until((server.address,))
        (entry,) = registered(service)
        assert entry["Service"]["Address"] == "127.0.0.1"  # type: ignore[index]
        checks = [each for each in entry["Checks"] if each["ServiceName"] == service]  # type: ignore[attr-defined]
        assert [(each["Type"], each["Interval"], each["Timeout"]) for each in checks] == [("grpc", "500ms", "250ms")]


def test_closing_deregisters_what_is_left_and_waits_for_no_held_question(service: str) -> None:
    with serving() as server:
        with opened(f"{CONSUL_URL}?{QUICK}&wait=600") as discovery:
            discovery.register(service, server.address)
            watching(discovery, service).until((server.address,))
            for _ in range(3):
                watching(discovery, service)
            begun = time.monotonic()
        assert time.monotonic() - begun < 10  # the question is held for minutes
        wait_until(lambda: not registered(service), "nobody is registered")


def test_a_watcher_that_cannot_follow_a_list_is_told_again(discovery: Discovery, service: str) -> None:
    tried: list[object] = []

    def on_change(addresses: tuple[str, ...]) -> None:
        tried.append(addresses)
        if addresses and len(tried) < 4:
            raise OSError("a host name that nobody knows yet")

    with serving() as server:
        discovery.watch(service, on_change)
        discovery.register(service, server.address)
        wait_until(lambda: len(tried) == 4, "told until it could")
        assert tried == [(), *[(server.address,)] * 3]


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch, service: str) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving() as server, opened(f"{CONSUL_URL}?{QUICK}") as discovery:
        discovery.register(service, server.address)
        watching(discovery, service).until((server.address,))
