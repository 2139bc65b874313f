"""What only RocketMQ's native client has: levels, a library of its own, threads of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from threading import enumerate as enumerate_threads
from uuid import uuid4

import pytest

from common.clock import SystemClock
from common.errors import Unavailable
from common.messaging.drivers import open_broker
from common.messaging.port import BrokerUnavailable, Message, Resolution
from tests.contract.messaging.harness import Received
from tests.contract.messaging.rocketmq_native_harness import NativeHarness, native_url
from tests.support.engines import ROCKETMQ_NAMESERVER
from tests.support.ports import free_port

ONE_THAT_FORGETS_TO_CLOSE = """
import sys
from common.clock import SystemClock
from common.messaging.drivers import open_broker
from common.messaging.port import Message

url, prefix, topic = sys.argv[1:]
broker = open_broker(url, topic_prefix=prefix, clock=SystemClock())
broker.subscribe(topic, "order", print)
broker.start()
broker.publish(Message(topic, "order-1", b""))
"""


@pytest.fixture
def harness() -> Iterator[NativeHarness]:
    made = NativeHarness(f"{uuid4().hex[:8]}-", nameserver=ROCKETMQ_NAMESERVER)
    yield made
    made.end()


def test_a_delay_between_levels_travels_in_hops_once_for_each_group(harness: NativeHarness) -> None:
    topic, inventory, order = harness.topic(), Received(), Received()
    broker = harness.started(handlers={(topic, "inventory"): inventory, (topic, "order"): order})
    due = time.time() + 7

    broker.publish_later(Message(topic, "order-1", b"body"), timedelta(seconds=7))  # 5 s, 1 s, 1 s
    broker.publish_later(Message(topic, "marker", b""), timedelta(seconds=10))

    for received in (inventory, order):
        received.wait_for("order-1", "marker")
        assert received.keys == {"order-1": 1, "marker": 1}
        at, delivery = received.timed[0]
        assert due <= at < due + 3
        assert delivery.message == Message(topic, "order-1", b"body")
        assert delivery.attempt == 1


def test_a_retry_is_not_delivered_to_another_group(harness: NativeHarness) -> None:
    def fail_once(delivery: object) -> None:
        if failing.keys["order-1"] == 1:
            raise RuntimeError("not yet")

    topic, failing, good = harness.topic(), Received(fail_once), Received()
    broker = harness.started(handlers={(topic, "failing"): failing, (topic, "good"): good})

    broker.publish(Message(topic, "order-1", b""))
    failing.wait_for("order-1", times=2)
    broker.publish(Message(topic, "marker", b""))

    good.wait_for("marker")
    assert good.keys == {"order-1": 1, "marker": 1}


def test_large_bodies_arrive_as_they_were_sent(harness: NativeHarness) -> None:
    topic, received = harness.topic(), Received()
    broker = harness.started(handlers={(topic, "order"): received})
    messages = {Message(topic, "text", b"x" * 1_000_000), Message(topic, "bytes", bytes(range(256)) * 1000)}

    for message in messages:
        broker.publish(message)

    received.wait_for("text", "bytes")
    assert {delivery.message for delivery in received.deliveries} == messages


def test_a_topic_that_is_not_there_stops_the_start_and_is_named(harness: NativeHarness) -> None:
    broker = harness.open()
    broker.subscribe("nowhere", "order", print)

    with pytest.raises(Unavailable, match=f"{harness.prefix}nowhere"):
        broker.start()


def test_a_name_server_that_is_not_there_stops_the_start_and_every_message() -> None:
    broker = open_broker(native_url(f"127.0.0.1:{free_port()}"), topic_prefix="", clock=SystemClock())
    broker.subscribe("messages", "order", print)
    try:
        with pytest.raises(BrokerUnavailable):
            broker.publish(Message("messages", "order-1", b""))
        with pytest.raises(BrokerUnavailable):
            broker.in_transaction(Message("halves", "order-1", b""), lambda: pytest.fail("nothing was sent"))
        with pytest.raises(BrokerUnavailable):
            broker.start()
    finally:
        broker.close()


def test_close_leaves_none_of_our_threads_behind(harness: NativeHarness) -> None:
    topic, halves, received = harness.topic(), harness.transaction_topic(), Received()
    broker = harness.started(handlers={(topic, "order"): received}, checkers={halves: lambda _: Resolution.ROLLBACK})
    broker.publish(Message(topic, "order-1", b""))
    received.wait_for("order-1")
    assert any(thread.name.startswith("rocketmq") for thread in enumerate_threads())

    broker.close()

    assert [thread.name for thread in enumerate_threads() if thread.name.startswith("rocketmq")] == []


def test_a_process_that_forgets_to_close_ends_and_leaves_its_home_folder_alone(
    harness: NativeHarness, tmp_path: Path
) -> None:
    topic = harness.topic()

    ended = subprocess.run(
        [sys.executable, "-c", ONE_THAT_FORGETS_TO_CLOSE, harness.url(), harness.prefix, topic],
        env={**os.environ, "HOME": str(tmp_path)},
        timeout=60,
        check=False,
    )

    assert ended.returncode == 0
    assert list(tmp_path.iterdir()) == []
