"""When the native driver announces itself, and what it tells about the brokers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from threading import Event
from types import SimpleNamespace

import pytest

from common.messaging.port import BrokerUnavailable
from common.messaging.rocketmq.native import membership
from common.messaging.rocketmq.native.membership import ConnectionMonitor, Member
from common.messaging.rocketmq.remoting import Answer, Queue, TopicMissing
from tests.support.waiting import wait_until

PRODUCER = Member("test-halves", "test-halves", consumes=False, instance="abc")
CONSUMER = Member("test-messages", "test-messages-order", consumes=True, instance="abc-0")


class ConsumeStatus(Enum):
    CONSUME_SUCCESS = 0


class Cluster:
    """Name server, broker and binding in one: an announcement is known at once, a restart forgets all."""

    RocketMQException = RuntimeError
    ConsumeStatus = ConsumeStatus

    def __init__(self, *topics: str) -> None:
        self.topics = topics
        self.away: str | None = None
        self.listens = True
        self.known: set[str] = set()
        self.announced: list[str] = []

    def queues(self, nameserver: str, topic: str) -> list[Queue]:
        if self.away in {nameserver, "all name servers"}:
            raise BrokerUnavailable("no name server")
        if topic not in self.topics:
            raise TopicMissing(f"there is no topic {topic!r}")
        return [Queue("broker:10911", number) for number in range(4)]

    @contextmanager
    def connected(self, address: str) -> Iterator[SimpleNamespace]:
        if self.away == address:
            raise BrokerUnavailable("no broker")
        yield SimpleNamespace(ask=self._ask)

    def _ask(self, code: int, fields: dict[str, str]) -> Answer:
        assert fields == {203: {"consumerGroup": CONSUMER.group}, 204: {"producerGroup": PRODUCER.group}}[code]
        return Answer(0, "", {}, "".join(f'{{"clientId":"ip@1#{each}"}}' for each in self.known).encode())

    def PushConsumer(self, _group: str) -> SimpleNamespace:  # noqa: N802 - the binding's name
        made = SimpleNamespace(set_name_server_address=lambda _: None, subscribe=lambda *_: None, shutdown=lambda: None)
        made.set_instance_name = lambda name: setattr(made, "name", name)
        made.start = lambda: self._announce(made.name)
        return made

    def _announce(self, name: str) -> None:
        if self.listens:
            self.known.add(name)
        self.announced.append(name)


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Cluster], ConnectionMonitor]]:
    made: list[tuple[ConnectionMonitor, Event]] = []

    def monitor(cluster: Cluster) -> ConnectionMonitor:
        monkeypatch.setattr(membership, "queues", cluster.queues)
        monkeypatch.setattr(membership, "connected", cluster.connected)
        monkeypatch.setattr(membership, "_TIMEOUT_AT_START_S", 1.0)
        monkeypatch.setattr(membership, "_PAUSE_WHILE_AWAY_S", 0.001)
        closing = Event()
        made.append(
            (ConnectionMonitor(cluster, nameservers=["one:9876", "two:9876"], every=0.01, closing=closing), closing)
        )
        return made[-1][0]

    yield monitor
    for each, closing in made:
        closing.set()
        each.close()


def test_start_announces_whom_the_broker_does_not_know(make: Callable[[Cluster], ConnectionMonitor]) -> None:
    cluster = Cluster("test-halves", "test-messages")
    cluster.known.add(CONSUMER.instance)

    make(cluster).start([PRODUCER, CONSUMER])

    assert cluster.announced == [PRODUCER.instance]


def test_start_fails_where_a_topic_is_missing_and_names_it(make: Callable[[Cluster], ConnectionMonitor]) -> None:
    with pytest.raises(TopicMissing, match="test-messages"):
        make(Cluster("test-halves")).start([PRODUCER, CONSUMER])


def test_start_fails_where_no_broker_is(make: Callable[[Cluster], ConnectionMonitor]) -> None:
    cluster = Cluster("test-halves")
    cluster.away = "broker:10911"

    with pytest.raises(BrokerUnavailable, match="no broker"):
        make(cluster).start([PRODUCER])


def test_start_fails_where_the_broker_does_not_listen(make: Callable[[Cluster], ConnectionMonitor]) -> None:
    cluster = Cluster("test-halves")
    cluster.listens = False

    with pytest.raises(BrokerUnavailable, match="test-halves"):
        make(cluster).start([PRODUCER])


def test_broker_goes_on_being_looked_at_without_any_name_server(make: Callable[[Cluster], ConnectionMonitor]) -> None:
    cluster = Cluster("test-halves")
    answer: list[bool] = []
    monitor = make(cluster)
    monitor.reachability.add_listener(answer.append)
    monitor.start([PRODUCER])

    cluster.away = "all name servers"
    cluster.known.clear()

    wait_until(lambda: cluster.announced == [PRODUCER.instance] * 2, "announced again")
    wait_until(lambda: answer in ([], [False, True]), "told nothing, or that it is back")


def test_second_name_server_is_asked_when_the_first_is_away(make: Callable[[Cluster], ConnectionMonitor]) -> None:
    cluster = Cluster("test-halves")
    cluster.away = "one:9876"

    make(cluster).start([PRODUCER])

    assert cluster.announced == [PRODUCER.instance]


def test_broker_that_comes_back_gets_an_announcement_and_listeners_hear_of_both(
    make: Callable[[Cluster], ConnectionMonitor],
) -> None:
    cluster = Cluster("test-halves")
    answer: list[bool] = []
    monitor = make(cluster)
    monitor.reachability.add_listener(answer.append)
    monitor.start([PRODUCER])

    cluster.away = "broker:10911"
    wait_until(lambda: answer == [False], "told that it is away")
    cluster.known.clear()
    cluster.away = None

    wait_until(lambda: answer == [False, True], "told that it is back")
    assert cluster.announced == [PRODUCER.instance] * 2


def test_broker_that_was_away_unnoticed_gets_an_announcement_as_well(
    make: Callable[[Cluster], ConnectionMonitor],
) -> None:
    cluster = Cluster("test-halves")
    make(cluster).start([PRODUCER])

    cluster.known.clear()

    wait_until(lambda: cluster.announced == [PRODUCER.instance] * 2, "announced again")


def test_unexpected_answer_does_not_stop_the_monitor(
    make: Callable[[Cluster], ConnectionMonitor], monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster("test-halves")
    answer: list[bool] = []
    monitor = make(cluster)
    monitor.reachability.add_listener(answer.append)
    monitor.start([PRODUCER])

    with monkeypatch.context() as broken:
        broken.setattr(cluster, "topics", None)
        wait_until(lambda: answer == [False], "told that it is not well")

    wait_until(lambda: answer == [False, True], "told that it is well again")
