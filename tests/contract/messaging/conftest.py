from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from common.clock import Clock, SystemClock
from common.messaging.embedded import EmbeddedBroker
from common.messaging.embedded_options import parse_url
from tests.contract.messaging.embedded_files import Open
from tests.contract.messaging.harness import EmbeddedHarness, Harness

DRIVERS = ("embedded", "embedded asking again")


@pytest.fixture(params=DRIVERS)
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    """The driver under test; the suite runs once for each."""
    made = EmbeddedHarness(
        prefix=f"{uuid4().hex}.", folder=tmp_path, asks_again=request.param == "embedded asking again"
    )
    try:
        yield made
    finally:
        made.end()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "broker.db"


@pytest.fixture
def open_broker(file: Path) -> Iterator[Open]:
    brokers: list[EmbeddedBroker] = []

    def opened(clock: Clock | None = None, **parameters: object) -> EmbeddedBroker:
        query = "&".join(f"{name}={value}" for name, value in parameters.items())
        path, options = parse_url(f"embedded:///{file}?{query}")
        brokers.append(EmbeddedBroker(path, options, topic_prefix="", clock=clock or SystemClock()))
        return brokers[-1]

    yield opened
    for broker in brokers:
        broker.close()
