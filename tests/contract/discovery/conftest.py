from collections.abc import Callable, Iterator

import pytest

from common.discovery.open import open_discovery
from common.discovery.port import Addresses, Discovery

KNOWN = {"inventory-srv": ("127.0.0.1:50052", "127.0.0.1:50062"), "order-srv": ("127.0.0.1:50051",)}
"""The services that are known in every suite, and where they are."""

Know = Callable[[dict[str, Addresses]], Discovery]


def _static(known: dict[str, Addresses]) -> Discovery:
    # the other way round: the port sorts
    return open_discovery("static://?" + "&".join(f"{name}={','.join(known[name][::-1])}" for name in known))


DRIVERS: dict[str, Know] = {"static": _static}


@pytest.fixture(params=DRIVERS)
def discovery(request: pytest.FixtureRequest) -> Iterator[Discovery]:
    """The driver under test, which knows `KNOWN`; the suite runs once for each."""
    made = DRIVERS[request.param](KNOWN)
    try:
        yield made
    finally:
        made.close()
