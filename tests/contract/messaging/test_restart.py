"""Closing, and opening again: nothing is lost, nothing is cut short."""

from datetime import timedelta
from threading import Event, Thread

import pytest

from common.messaging.port import BrokerUnavailable, Delivery, Message, Resolution
from tests.contract.messaging.harness import Database, Harness, Received
from tests.support.waiting import wait_until


def test_everything_is_still_there_after_a_restart(harness: Harness) -> None:
    def fail(delivery: Delivery) -> None:
        raise RuntimeError("always")

    topic, transactions, dying = harness.topic(), harness.transaction_topic(), harness.topic()
    before = harness.started(handlers={(dying, "order"): fail})
    before.publish(Message(topic, "waiting", b""))
    before.publish_later(Message(topic, "delayed", b""), timedelta(seconds=1))
    before.in_transaction(Message(transactions, "half", b""), lambda: Resolution.UNKNOWN)
    before.publish(Message(dying, "dead", b""))
    wait_until(lambda: len(before.dead_letters(dying, "order")) == 1, "a dead letter")

    before.close()
    harness.restart()
    received, committed, database = Received(), Received(), Database()
    database.decide("half", Resolution.COMMIT)
    after = harness.started(
        handlers={(topic, "order"): received, (transactions, "inventory"): committed},
        checkers={transactions: database.check},
    )

    received.wait_for("waiting", "delayed")
    committed.wait_for("half")
    assert [letter.message.key for letter in after.dead_letters(dying, "order")] == ["dead"]


def test_close_lets_running_handlers_finish_and_publish(harness: Harness) -> None:
    topic, next_topic, go_on, ended = harness.topic(), harness.topic(), Event(), []
    broker = harness.open()

    def handle(delivery: Delivery) -> None:
        go_on.wait(60)
        broker.publish(Message(next_topic, delivery.message.key, b""))
        ended.append(delivery.message.key)

    handled = Received(handle)
    broker.subscribe(topic, "order", handled)
    broker.start()
    broker.publish(Message(topic, "running", b""))
    handled.wait_for("running")

    closing = Thread(target=broker.close)
    closing.start()
    closing.join(0.2)
    assert closing.is_alive()
    go_on.set()
    closing.join(30)
    assert ended == ["running"]

    again, received = Received(), Received()
    after = harness.started(handlers={(topic, "order"): again, (next_topic, "order"): received})
    received.wait_for("running")
    after.publish(Message(topic, "later", b""))
    again.wait_for("later")
    assert again.keys == {"later": 1}


def test_unhandled_messages_stay_with_the_broker_when_it_closes(harness: Harness) -> None:
    topic, go_on = harness.topic(), Event()
    first = Received(lambda _: go_on.wait(60))
    broker = harness.started(handlers={(topic, "order"): first})
    keys = [str(number) for number in range(harness.handlers * 3)]
    for key in keys:
        broker.publish(Message(topic, key, b""))
    wait_until(lambda: first.keys.total() == harness.handlers, "all handlers busy")

    closing = Thread(target=broker.close)
    closing.start()
    go_on.set()
    closing.join(30)

    second = Received()
    harness.started(handlers={(topic, "order"): second})
    second.wait_for(*(set(keys) - set(first.keys)))
    assert first.keys + second.keys == dict.fromkeys(keys, 1)
    assert {delivery.attempt for delivery in second.deliveries} == {1}


def test_closed_broker_refuses_to_send(harness: Harness) -> None:
    broker, topic = harness.open(), harness.topic()
    broker.publish(Message(topic, "order-1", b""))

    broker.close()
    broker.close()

    with pytest.raises(BrokerUnavailable):
        broker.publish(Message(topic, "order-2", b""))
