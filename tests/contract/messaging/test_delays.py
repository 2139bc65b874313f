"""Delayed messages: perhaps late, never early."""

import random
import time
from datetime import timedelta

from common.messaging.port import Message
from tests.contract.messaging.harness import Harness, Received


def test_delayed_message_is_never_early_and_hardly_late(harness: Harness) -> None:
    topic, received = harness.topic(), Received()
    broker = harness.started(handlers={(topic, "order"): received})
    chance = random.Random(3)
    delays = {str(number): timedelta(seconds=chance.uniform(0, 2)) for number in range(200)}
    sent: dict[str, float] = {}

    for key, delay in delays.items():
        sent[key] = time.time()
        broker.publish_later(Message(topic, key, b""), delay)

    received.wait_for(*delays)
    late = sorted(at - sent[each.message.key] - delays[each.message.key].total_seconds() for at, each in received.timed)
    assert late[0] >= 0
    assert late[int(len(late) * 0.99)] < 2


def test_publishing_may_go_on_while_the_sender_does_something_else(harness: Harness) -> None:
    topic, received = harness.topic(), Received()
    broker = harness.started(handlers={(topic, "order"): received})
    delays = {f"in {delay} s": timedelta(seconds=delay) for delay in (0, 0.5, 1.5)}
    begun = time.time()

    confirms = [broker.begin_publish_later(Message(topic, key, b""), delay) for key, delay in delays.items()]
    for confirm in confirms:
        confirm()

    received.wait_for(*delays)
    assert all(at >= begun + delays[each.message.key].total_seconds() for at, each in received.timed)


def test_no_delay_means_at_once(harness: Harness) -> None:
    topic, received = harness.topic(), Received()
    broker = harness.started(handlers={(topic, "order"): received})

    broker.publish_later(Message(topic, "now", b""), timedelta(0))
    broker.publish_later(Message(topic, "overdue", b""), timedelta(seconds=-5))

    received.wait_for("now", "overdue")


def test_delay_of_days_is_accepted_and_waits(harness: Harness) -> None:
    topic, received = harness.topic(), Received()
    broker = harness.started(handlers={(topic, "order"): received})

    broker.publish_later(Message(topic, "in two days", b""), timedelta(days=2))
    broker.publish_later(Message(topic, "in a year", b""), timedelta(days=365))
    broker.publish_later(Message(topic, "soon", b""), timedelta(milliseconds=300))

    received.wait_for("soon")
    assert received.keys == {"soon": 1}


def test_message_is_delayed_for_every_group(harness: Harness) -> None:
    topic, inventory, order = harness.topic(), Received(), Received()
    broker = harness.started(handlers={(topic, "inventory"): inventory, (topic, "order"): order})
    sent = time.time()

    broker.publish_later(Message(topic, "order-1", b""), timedelta(milliseconds=500))

    for received in (inventory, order):
        received.wait_for("order-1")
        assert received.timed[0][0] >= sent + 0.5
