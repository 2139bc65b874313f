from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

import pytest

from common.discovery.drivers import open_discovery
from common.discovery.port import Addresses, Discovery
from common.rpc.server import Server
from tests.contract.discovery.watching import watching
from tests.support.engines import CONSUL_URL

collect_ignore_glob = [] if CONSUL_URL else ["test_consul_*.py"]

QUICK = "interval=0.2&check_timeout=2"
"""Parameters of a Consul URL that make tests short."""


@dataclass(frozen=True)
class Case:
    """A registry under test.

    Attributes:
        discovery: The driver, freshly opened.
        pair: A service that has two instances, with a name of this registry's own.
        single: One that has one.
        known: Where they are.
    """

    discovery: Discovery
    pair: str
    single: str
    known: dict[str, Addresses]


@contextmanager
def _static() -> Iterator[Case]:
    known = {"inventory-srv": ("127.0.0.1:50052", "127.0.0.1:50062"), "order-srv": ("127.0.0.1:50051",)}
    # the other way round: the port sorts
    url = "static://?" + "&".join(f"{name}={','.join(known[name][::-1])}" for name in known)
    yield Case(open_discovery(url), "inventory-srv", "order-srv", known)


@contextmanager
def _consul() -> Iterator[Case]:
    pair, single = (f"{name}-{uuid4().hex[:8]}" for name in ("inventory-srv", "order-srv"))
    with ExitStack() as closing:
        others = closing.enter_context(opened(f"{CONSUL_URL}?{QUICK}"))
        first, second, third = (closing.enter_context(serving()).address for _ in range(3))
        known: dict[str, Addresses] = {pair: tuple(sorted((first, second))), single: (third,)}
        for service, addresses in known.items():
            for address in addresses[::-1]:
                others.register(service, address)
            watching(others, service).until(addresses)
        yield Case(open_discovery(CONSUL_URL), pair, single, known)


DRIVERS: dict[str, Callable[[], AbstractContextManager[Case]]] = {"static": _static}
if CONSUL_URL:
    DRIVERS["consul"] = _consul


@pytest.fixture(params=DRIVERS)
def case(request: pytest.FixtureRequest) -> Iterator[Case]:
    """The driver under test, and what it knows; the suite runs once for each."""
    with DRIVERS[request.param]() as made:
        try:
            yield made
        finally:
            made.discovery.close()


@contextmanager
def opened(url: str) -> Iterator[Discovery]:
    """A registry, closed at the end."""
    discovery = open_discovery(url)
    try:
        yield discovery
    finally:
        discovery.close()


@contextmanager
def serving(listen: str = "127.0.0.1:0") -> Iterator[Server]:
    """An instance: all that it serves is its health."""
    server = Server("inventory", listen, threads=4)
    server.start()
    try:
        yield server
    finally:
        server.drain(timedelta(seconds=1))
