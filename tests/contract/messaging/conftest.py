from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from common.clock import Clock, SystemClock
from common.driver_url import file_url
from common.messaging.embedded.broker import EmbeddedBroker
from common.messaging.embedded.url import EmbeddedUrl
from tests.contract.messaging.embedded_files import Open
from tests.contract.messaging.harness import EmbeddedHarness, Harness
from tests.contract.messaging.rocketmq_harness import RocketmqHarness
from tests.contract.messaging.rocketmq_native_harness import NativeHarness
from tests.support.engines import ROCKETMQ_NAMESERVER, ROCKETMQ_URL

collect_ignore_glob = [] if ROCKETMQ_URL else ["test_rocketmq_*.py"]

DRIVERS = [
    *("embedded", "embedded, rechecking"),
    *(["rocketmq"] if ROCKETMQ_URL and ROCKETMQ_NAMESERVER else []),
    *(["rocketmq-native"] if ROCKETMQ_NAMESERVER else []),
]


def _harness(driver: str, prefix: str, folder: Path) -> Harness:
    if driver == "rocketmq":
        return RocketmqHarness(prefix, proxy=ROCKETMQ_URL, nameserver=ROCKETMQ_NAMESERVER)
    if driver == "rocketmq-native":
        return NativeHarness(prefix, nameserver=ROCKETMQ_NAMESERVER)
    return EmbeddedHarness(prefix, folder=folder, rechecks=driver == "embedded, rechecking")


@pytest.fixture(params=DRIVERS)
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    """The driver under test; the suite runs once for each."""
    made = _harness(request.param, f"{uuid4().hex}-", tmp_path)
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
        url = EmbeddedUrl.parse(f"{file_url('embedded', file)}{'?' if query else ''}{query}")
        brokers.append(EmbeddedBroker(url, topic_prefix="", clock=clock or SystemClock()))
        return brokers[-1]

    yield opened
    for broker in brokers:
        broker.close()
