"""RocketMQ is killed and comes back: the driver notices, tells, and goes on by itself."""

import itertools
import random
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from threading import Event, Thread
from uuid import uuid4

import pytest

from common.clock import SystemClock
from common.messaging.drivers import open_broker
from common.messaging.port import Broker, BrokerUnavailable, Message, Resolution
from tests.contract.messaging.harness import Database, Received
from tests.contract.messaging.rocketmq_native_harness import native_url
from tests.support.long_form import rounds
from tests.support.rocketmq_server import RocketmqServer, rocketmq_server
from tests.support.waiting import wait_until

ROUNDS = rounds(short=2, long=20)
AWAY_S = 10.0
BACK_WITHIN_S = 15.0

pytestmark = pytest.mark.timeout(600 + 60 * ROUNDS)


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
        self.answer: list[bool] = []
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
        broker.on_reachable(self.answer.append)
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


@pytest.mark.alone
def test_all_goes_on_after_a_kill_of_broker_and_proxy(server: RocketmqServer, site: Site) -> None:
    broker = site.started()
    say(broker, "before")
    site.received.wait_for("before")
    leave_open(broker, "half")
    say(broker, "due meanwhile", AWAY_S / 2)
    say(broker, "due later", AWAY_S + 10)
    due_later = time.time() + AWAY_S + 10

    server.kill()
    wait_until(lambda: site.answer == [False], "told that it is cut off", 5)
    refused = time.monotonic()
    with pytest.raises(BrokerUnavailable):
        say(broker, "while it is away")
    with pytest.raises(BrokerUnavailable):
        leave_open(broker, "while it is away")
    assert time.monotonic() - refused < 3  # less than one try of a send would take
    time.sleep(AWAY_S)
    site.database.decide("half", Resolution.COMMIT)
    server.start()
    back = time.monotonic()

    site.committed.wait_for("half", timeout_s=BACK_WITHIN_S)
    site.received.wait_for("due meanwhile", timeout_s=back + BACK_WITHIN_S - time.monotonic())
    wait_until(lambda: site.answer == [False, True], "told that it is back", back + BACK_WITHIN_S - time.monotonic())
    say(broker, "after")
    leave_open(broker, "half after")
    site.database.decide("half after", Resolution.COMMIT)
    site.received.wait_for("after", "due later")
    site.committed.wait_for("half after")
    assert min(at for at, each in site.received.timed if each.message.key == "due later") >= due_later


@pytest.mark.alone
def test_a_broker_that_hangs_counts_as_gone_until_it_goes_on(server: RocketmqServer, site: Site) -> None:
    broker = site.started()
    leave_open(broker, "half")
    site.database.decide("half", Resolution.COMMIT)

    server.pause()
    try:
        wait_until(lambda: site.answer == [False], "told that it is cut off", BACK_WITHIN_S)
        with pytest.raises(BrokerUnavailable):
            say(broker, "while it hangs")
    finally:
        server.resume()

    wait_until(lambda: site.answer == [False, True], "told that it is back", BACK_WITHIN_S)
    say(broker, "after")
    site.received.wait_for("after")
    site.committed.wait_for("half")


class Stream:
    """Sends from a few threads until told to stop; remembers what the broker took."""

    def __init__(self, broker: Broker, database: Database) -> None:
        self.taken: list[str] = []
        self.halves: list[str] = []
        self._broker = broker
        self._database = database
        self._stop = Event()
        self._threads = [Thread(target=self._send, args=(number,)) for number in range(4)]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _send(self, thread: int) -> None:
        chance = random.Random(thread)
        for number in itertools.count():
            if self._stop.wait(0.02):
                return
            key = f"{thread}-{number}"
            with suppress(BrokerUnavailable):
                if chance.random() < 0.1:
                    self._database.decide(key, Resolution.COMMIT)
                    leave_open(self._broker, key)
                    self.halves.append(key)
                else:
                    say(self._broker, key, chance.choice([0, 0, 1.5, 4]))
                    self.taken.append(key)


def wait_for_more(stream: Stream) -> None:
    before = len(stream.taken)
    wait_until(lambda: len(stream.taken) > before + 20, "messages are taken", 60)


def nothing_is_lost(server: RocketmqServer, site: Site, times: int) -> None:
    broker = site.started()
    chance = random.Random(times)
    stream = Stream(broker, site.database)
    try:
        for _ in range(times):
            wait_for_more(stream)
            time.sleep(chance.uniform(0, 2))
            server.kill()
            server.start()
    finally:
        stream.end()
    wait_until(lambda: set(stream.taken) <= set(site.received.keys), "every message that was taken", 60)
    wait_until(lambda: set(stream.halves) <= set(site.committed.keys), "every half message", 60)
    assert broker.dead_letters("messages", "order") == []


def test_nothing_is_lost_when_it_is_killed_again_and_again(server: RocketmqServer, site: Site) -> None:
    nothing_is_lost(server, site, ROUNDS)
