"""What only the driver for RocketMQ has: typed topics, hops, its own place for dead letters, leases, no traces."""

import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from threading import Event
from uuid import uuid4

import pytest

from common.clock import SystemClock
from common.messaging.drivers import open_broker
from common.messaging.port import Broker, BrokerUnavailable, Message, Resolution
from common.messaging.rocketmq.proxy.client import TopicUnusable
from common.messaging.rocketmq.remoting import connected, queues, read_queue
from tests.contract.messaging.harness import Received
from tests.contract.messaging.rocketmq_harness import RocketmqHarness
from tests.contract.messaging.test_retries import always, wait_for_dead_letters
from tests.support.engines import ROCKETMQ_NAMESERVER, ROCKETMQ_URL
from tests.support.ports import free_port
from tests.support.rocketmq_topics import Topics
from tests.support.waiting import wait_until

LEASE_S = 10.0


@pytest.fixture
def harness() -> Iterator[RocketmqHarness]:
    made = RocketmqHarness(f"{uuid4().hex}-", proxy=ROCKETMQ_URL, nameserver=ROCKETMQ_NAMESERVER)
    try:
        yield made
    finally:
        made.end()


def opened(harness: RocketmqHarness, parameters: str = "") -> Broker:
    broker = open_broker(harness.url() + parameters, topic_prefix=harness.prefix, clock=SystemClock())
    harness._brokers.append(broker)
    return broker


def test_a_topic_that_is_not_there_stops_the_start_and_is_named(harness: RocketmqHarness) -> None:
    broker = opened(harness)
    broker.subscribe("nowhere", "order", Received())

    with pytest.raises(TopicUnusable, match=rf"-t {harness.prefix}nowhere -a \+message.type=DELAY"):
        broker.start()


def test_a_topic_of_the_wrong_type_stops_the_start_and_is_named(harness: RocketmqHarness) -> None:
    topic = harness.topic()
    broker = opened(harness)
    broker.answer_check_backs(topic, lambda _: Resolution.UNKNOWN)

    with pytest.raises(TopicUnusable, match=rf"{topic}' accepts DELAY messages, not TRANSACTION"):
        broker.start()


def test_a_topic_that_accepts_no_delayed_messages_stops_the_start(harness: RocketmqHarness) -> None:
    Topics(harness.nameserver).make(f"{harness.prefix}plain", "NORMAL")
    broker = opened(harness)
    broker.subscribe("plain", "order", Received())

    with pytest.raises(TopicUnusable, match="accepts NORMAL messages, not DELAY"):
        broker.start()


def test_a_message_of_the_wrong_type_is_refused_and_its_topic_named(harness: RocketmqHarness) -> None:
    broker, plain, halves = harness.open(), harness.topic(), harness.transaction_topic()

    with pytest.raises(TopicUnusable, match=plain):
        broker.in_transaction(Message(plain, "order-1", b""), lambda: Resolution.COMMIT)
    with pytest.raises(TopicUnusable, match=halves):
        broker.publish_later(Message(halves, "order-1", b""), timedelta(seconds=1))


def test_a_proxy_that_is_not_there_stops_the_start(harness: RocketmqHarness) -> None:
    proxy = f"127.0.0.1:{free_port()}"
    broker = open_broker(f"rocketmq://{proxy}", topic_prefix="", clock=SystemClock())
    broker.subscribe("messages", "order", Received())

    try:
        with pytest.raises(BrokerUnavailable, match=proxy):
            broker.start()
    finally:
        broker.close()


def test_a_delay_beyond_the_longest_travels_in_hops_once_for_each_group(harness: RocketmqHarness) -> None:
    topic, inventory, order = harness.topic(), Received(), Received()
    broker = opened(harness, "&longest_delay=1")
    broker.subscribe(topic, "inventory", inventory)
    broker.subscribe(topic, "order", order)
    broker.start()
    sent = time.time()

    broker.publish_later(Message(topic, "far", b"body"), timedelta(seconds=4.5))
    broker.publish_later(Message(topic, "near", b""), timedelta(seconds=0.5))

    for received in (inventory, order):
        received.wait_for("near", "far")
        (at, far), *more = [each for each in received.timed if each[1].message.key == "far"]
        assert more == []
        assert at >= sent + 4.5
        assert far.message == Message(topic, "far", b"body")
        assert far.attempt == 1
    broker.publish_later(Message(topic, "marker", b""), timedelta(seconds=2.5))  # what was doubled would come before
    for received in (inventory, order):
        received.wait_for("marker")
        assert received.keys == {"near": 1, "far": 1, "marker": 1}
    assert inventory.deliveries[1].message_id == order.deliveries[1].message_id


def test_a_dead_letter_of_half_messages_is_replayed_to_its_group_alone(harness: RocketmqHarness) -> None:
    topic, dying, other = harness.transaction_topic(), Received(always), Received()
    broker = harness.started(
        handlers={(topic, "order"): dying, (topic, "inventory"): other}, checkers={topic: lambda _: Resolution.COMMIT}
    )
    broker.in_transaction(Message(topic, "order-1", b"body"), lambda: Resolution.COMMIT)
    (letter,) = wait_for_dead_letters(broker, topic, 1)
    first_id = dying.deliveries[0].message_id

    broker.replay(topic, "order", letter.id)

    dying.wait_for("order-1", times=2 * harness.tries)
    assert {delivery.message_id for delivery in dying.deliveries[-harness.tries :]} == {first_id}
    assert {delivery.message_id for delivery in other.deliveries} == {first_id}  # RocketMQ may bring it again as such
    assert wait_for_dead_letters(broker, topic, 1)[0].id != letter.id


def test_dead_letters_are_where_rocketmqs_own_tools_look(harness: RocketmqHarness) -> None:
    topic = harness.topic()
    broker = harness.started(handlers={(topic, "order"): always})
    broker.publish(Message(topic, "order-1", b"body"))
    wait_for_dead_letters(broker, topic, 1)

    place = f"%DLQ%{harness.prefix}{topic}-order"
    (queue,) = queues(harness.nameserver, place)
    with connected(queue.broker) as server:
        (stored,) = read_queue(server, place, queue.number)
    assert stored.body == b"body"
    assert stored.properties["KEYS"] == "order-1"
    assert "no luck with order-1" in stored.properties["reback_error"]


def test_a_handler_may_take_longer_than_the_lease(harness: RocketmqHarness) -> None:
    topic, done = harness.topic(), list[str]()
    go_on = Event()

    def take_long(delivery: object) -> None:
        go_on.wait(LEASE_S * 1.5)
        done.append("done")

    received = Received(take_long)
    harness.started(handlers={(topic, "order"): received})
    second = harness.started(handlers={(topic, "order"): received})
    second.publish(Message(topic, "order-1", b""))

    wait_until(lambda: bool(done), "the end of it", LEASE_S * 3)
    second.publish(Message(topic, "marker", b""))
    go_on.set()
    received.wait_for("marker")

    assert received.keys == {"order-1": 1, "marker": 1}


def test_a_message_for_a_consumer_that_just_closed_comes_to_another(harness: RocketmqHarness) -> None:
    topic, first, second = harness.topic(), Received(), Received()
    leaving = harness.started(handlers={(topic, "order"): first})
    staying = harness.started(handlers={(topic, "order"): second})
    leaving.close()

    for number in range(20):
        staying.publish(Message(topic, str(number), b""))

    second.wait_for(*map(str, range(20)), timeout_s=LEASE_S)
    assert first.keys == {}


def test_close_leaves_no_thread_behind(harness: RocketmqHarness) -> None:
    harness.started(handlers={(harness.topic(), "order"): Received()}).close()  # the client's own thread stays
    before = set(threading.enumerate())
    topic, halves = harness.topic(), harness.transaction_topic()
    broker = harness.started(handlers={(topic, "order"): Received()}, checkers={halves: lambda _: Resolution.COMMIT})
    broker.publish(Message(topic, "order-1", b""))

    broker.close()

    assert set(threading.enumerate()) <= before
