"""RocketMQ is killed and comes back: the driver notices, tells, and goes on by itself."""

import time
from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

import pytest

from common.clock import SystemClock
from common.messaging.open import open_broker
from common.messaging.port import Broker, BrokerUnavailable, Message, Resolution
from tests.contract.messaging.harness import Database, Received, wait_until
from tests.contract.messaging.rocketmq_native_harness import native_url
from tests.rocketmq_server import RocketmqServer, rocketmq_server

pytestmark = pytest.mark.timeout(240)

AWAY_S = 10.0
BACK_WITHIN_S = 15.0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RocketmqServer]:
    with rocketmq_server(tmp_path_factory.mktemp("rocketmq")) as started:
        yield started


class Site:
    """An environment of its own on the server: brokers, what they receive, are asked and are told."""

    def __init__(self, server: RocketmqServer, url: str) -> None:
        self._url = url
        self.prefix = f"{uuid4().hex[:8]}-"
        self.received = Received()
        self.committed = Received()
        self.database = Database()
        self.told: list[bool] = []
        self._brokers: list[Broker] = []
        server.topics.make(f"{self.prefix}messages", "DELAY")
        server.topics.make(f"{self.prefix}halves", "TRANSACTION")

    def open(self) -> Broker:
        broker = open_broker(self._url, topic_prefix=self.prefix, clock=SystemClock())
        self._brokers.append(broker)
        return broker

    def started(self) -> Broker:
        broker = self.open()
        broker.subscribe("messages", "order", self.received)
        broker.subscribe("halves", "inventory", self.committed)
        broker.answer_check_backs("halves", self.database.check)
        broker.on_reachable(self.told.append)
        broker.start()
        return broker

    def close(self) -> None:
        for broker in self._brokers:
            broker.close()


@pytest.fixture(params=["rocketmq", "rocketmq-native"])
def site(server: RocketmqServer, request: pytest.FixtureRequest) -> Iterator[Site]:
    made = Site(server, server.url if request.param == "rocketmq" else native_url(server.nameserver))
    yield made
    made.close()


def say(broker: Broker, key: str, delay: float = 0.0) -> None:
    broker.publish_later(Message("messages", key, b"body"), timedelta(seconds=delay))


def leave_open(broker: Broker, key: str) -> None:
    broker.in_transaction(Message("halves", key, b"body"), lambda: Resolution.UNKNOWN)


def test_all_goes_on_after_a_kill_of_broker_and_proxy(server: RocketmqServer, site: Site) -> None:
    broker = site.started()
    say(broker, "before")
    site.received.wait_for("before")
    leave_open(broker, "half")
    say(broker, "due meanwhile", AWAY_S / 2)
    say(broker, "due later", AWAY_S + 10)
    due_later = time.time() + AWAY_S + 10

    server.kill()
    wait_until(lambda: site.told == [False], "told that it is cut off", 5)
    refused = time.monotonic()
    with pytest.raises(BrokerUnavailable):
        say(broker, "while it is away")
    with pytest.raises(BrokerUnavailable):
        leave_open(broker, "while it is away")
    assert time.monotonic() - refused < 1
    time.sleep(AWAY_S)
    site.database.decide("half", Resolution.COMMIT)
    server.start()
    back = time.monotonic()

    site.committed.wait_for("half", within=BACK_WITHIN_S)
    site.received.wait_for("due meanwhile", within=back + BACK_WITHIN_S - time.monotonic())
    wait_until(lambda: site.told == [False, True], "told that it is back", back + BACK_WITHIN_S - time.monotonic())
    say(broker, "after")
    leave_open(broker, "half after")
    site.database.decide("half after", Resolution.COMMIT)
    site.received.wait_for("after", "due later")
    site.committed.wait_for("half after")
    assert min(at for at, each in site.received.timed if each.message.key == "due later") >= due_later
