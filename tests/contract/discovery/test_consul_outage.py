"""Consul killed, stopped, back with its data or without: nobody is lost, and all is well again soon after."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from common.discovery.port import Discovery
from tests.contract.discovery.conftest import QUICK, opened, serving
from tests.contract.discovery.watching import watching
from tests.support.consul_server import ConsulServer, consul_server
from tests.support.waiting import wait_until

SERVICE: Final = "inventory-srv"
BACK_WITHIN: Final = 5.0  # seconds
NOT_KEPT_WAITING: Final = 6.0  # twice the time that the agent has to answer, and a busy machine


@pytest.fixture
def consul(tmp_path: Path) -> Iterator[ConsulServer]:
    with consul_server(tmp_path) as server:
        yield server


@pytest.fixture
def discovery(consul: ConsulServer) -> Iterator[Discovery]:
    with opened(f"{consul.url}?{QUICK}") as made:
        yield made


def ids(consul: ConsulServer) -> set[str]:
    return set(consul.get("agent/services"))


@pytest.mark.parametrize("forget", [False, True], ids=["with-its-data", "without-its-data"])
def test_after_consul_was_killed_all_are_registered_again_and_newcomers_are_found(
    consul: ConsulServer, discovery: Discovery, forget: bool
) -> None:
    with serving() as first, serving() as second, serving() as newcomer:
        for server in (first, second):
            discovery.register(SERVICE, server.address)
        both = tuple(sorted((first.address, second.address)))
        watched = watching(discovery, SERVICE)
        watched.until(both)
        before = len(watched.answer)
        consul.kill()
        begun = time.monotonic()
        discovery.register(SERVICE, newcomer.address)  # it starts while Consul is away
        assert time.monotonic() - begun < NOT_KEPT_WAITING
        consul.start(forget=forget)
        watched.until(tuple(sorted((*both, newcomer.address))), BACK_WITHIN)
        assert () not in watched.answer[before:]
        assert len(ids(consul)) == 3


def test_consul_that_answers_nothing_keeps_nobody_waiting(consul: ConsulServer) -> None:
    with opened(f"{consul.url}?{QUICK}") as discovery, serving() as server:
        discovery.register(SERVICE, server.address)
        watched = watching(discovery, SERVICE)
        watched.until((server.address,))
        consul.pause()
        begun = time.monotonic()
        late = watching(discovery, SERVICE)
        assert late.answer == [()]
        discovery.deregister(SERVICE, server.address)
        assert time.monotonic() - begun < 2 * NOT_KEPT_WAITING
        discovery.register(SERVICE, server.address)
        consul.resume()
        late.until((server.address,), 2 * BACK_WITHIN)  # its question was given up meanwhile
        assert watched.last == (server.address,)


def test_who_starts_before_consul_is_found_when_it_comes(tmp_path: Path) -> None:
    consul = ConsulServer(tmp_path)
    try:
        with opened(f"{consul.url}?{QUICK}") as discovery, serving() as server:
            discovery.register(SERVICE, server.address)
            watched = watching(discovery, SERVICE)
            assert watched.answer == [()]
            consul.start()
            watched.until((server.address,), BACK_WITHIN)
    finally:
        consul.close()


def test_an_agent_that_lost_an_entry_gets_it_again(consul: ConsulServer, discovery: Discovery) -> None:
    with serving() as server:
        discovery.register(SERVICE, server.address)
        (entry,) = ids(consul)
        consul.put(f"agent/service/deregister/{entry}")
        wait_until(lambda: ids(consul) == {entry}, "registered again", BACK_WITHIN)


def test_what_is_deregistered_while_consul_is_away_does_not_come_back(
    consul: ConsulServer, discovery: Discovery
) -> None:
    with serving() as stays, serving() as leaves:
        for server in (stays, leaves):
            discovery.register(SERVICE, server.address)
        watched = watching(discovery, SERVICE)
        watched.until(tuple(sorted((stays.address, leaves.address))))
        consul.kill()
        discovery.deregister(SERVICE, leaves.address)
        leaves.drain()
        consul.start()  # with its data: it still has the entry, whose check fails
        watched.until((stays.address,), BACK_WITHIN)
        discovery.register(SERVICE, "127.0.0.1:1")  # the monitor has had its turn
        wait_until(lambda: f"{SERVICE}-127.0.0.1-1" in ids(consul), "registered")
        assert watched.last == (stays.address,)
