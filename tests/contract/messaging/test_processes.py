"""Processes that share a broker, and die."""

import time
from statistics import median
from threading import Event

import pytest

from common.messaging.port import Delivery, Message, Resolution
from tests.contract.messaging.harness import Database, Harness, Received
from tests.support.waiting import TIMEOUT_S, wait_until


def test_message_of_a_consumer_killed_in_its_handler_goes_to_another(harness: Harness) -> None:
    topic, received = harness.topic(), Received()
    victim = harness.worker("hang", topic, "order")
    victim.wait_for("ready")
    harness.open().publish(Message(topic, "order-1", b"body"))
    victim.wait_for("hangs", key="order-1", attempt=1)

    victim.kill()
    harness.started(handlers={(topic, "order"): received})

    received.wait_for("order-1")
    assert received.deliveries[0].message == Message(topic, "order-1", b"body")
    assert received.deliveries[0].attempt == 1 + harness.counts_lost_tries


@pytest.mark.timeout(240)  # RocketMQ waits two minutes for a native client that hangs
def test_consumer_that_lost_its_message_does_not_harm_the_next_one(harness: Harness) -> None:
    first_is_done = Event()

    def fail_after_the_first_is_done(delivery: Delivery) -> None:
        if delivery.attempt == 1 + harness.counts_lost_tries:
            first_is_done.wait(60)
            raise RuntimeError("and so the message must come again")

    topic, received = harness.topic(), Received(fail_after_the_first_is_done)
    stopped = harness.worker("hold", topic, "order")
    stopped.wait_for("ready")
    sender = harness.open()
    sender.publish(Message(topic, "order-1", b""))
    stopped.wait_for("holds", key="order-1", attempt=1)

    stopped.pause()
    harness.started(handlers={(topic, "order"): received})
    # a second time: that is why handlers must be repeatable
    received.wait_for("order-1", timeout_s=TIMEOUT_S + harness.take_over_after)
    stopped.resume()
    stopped.say("go on")
    stopped.wait_for("lets go", key="order-1", attempt=1)
    stopped.finish()
    first_is_done.set()

    received.wait_for("order-1", times=2)
    again = 1 + harness.counts_lost_tries
    assert [delivery.attempt for delivery in received.deliveries] == [again, again + 1]


def test_check_back_of_a_sender_killed_before_its_resolution_is_answered_elsewhere(harness: Harness) -> None:
    topic, received, database = harness.transaction_topic(), Received(), Database()
    victim = harness.worker("half", topic, "order-1")
    victim.wait_for("half sent")
    database.decide("order-1", Resolution.COMMIT)

    victim.kill()
    harness.started(handlers={(topic, "inventory"): received}, checkers={topic: database.check})

    received.wait_for("order-1")
    assert "order-1" in database.check_backs


def test_nothing_is_lost_while_processes_are_killed_at_any_point(harness: Harness) -> None:
    topic, received = harness.topic(), Received()
    sent: set[str] = set()
    got: set[str] = set()

    for turn in range(4):
        sender, consumer = harness.worker("stream", topic, "4"), harness.worker("consume", topic, "order")
        for _ in range(10 + turn):
            sender.wait_for("sent")
            consumer.wait_for("got")
        first, second = (sender, consumer) if turn % 2 else (consumer, sender)
        first.kill()
        second.kill()
        sent.update(sender.answer("sent"))
        got.update(consumer.answer("got"))
    harness.started(handlers={(topic, "order"): received})

    wait_until(lambda: sent <= got | set(received.keys), "every message that was taken")


def test_sixteen_threads_in_two_processes_lose_nothing(harness: Harness) -> None:
    topic, received = harness.topic(), Received()
    harness.started(handlers={(topic, "order"): received})
    senders = [harness.worker("publish", topic, "16", "25") for _ in range(2)]

    pids = [sender.wait_for("published")["pid"] for sender in senders]

    keys = [f"{pid}-{thread}-{number}" for pid in pids for thread in range(16) for number in range(25)]
    received.wait_for(*keys)
    assert received.keys == dict.fromkeys(keys, 1)


def test_another_process_is_woken_soon(harness: Harness) -> None:
    topic = harness.topic()
    worker = harness.worker("consume", topic, "order")
    worker.wait_for("ready")
    broker = harness.open()
    took = []

    for number in range(30):
        sent = time.time()
        broker.publish(Message(topic, str(number), b""))
        took.append(worker.wait_for("got", key=str(number))["time"] - sent)

    assert median(took) < harness.woken_within


def test_worker_finishes_well(harness: Harness) -> None:
    worker = harness.worker("consume", harness.topic(), "order")
    worker.wait_for("ready")

    worker.finish()
