"""Who gets a message: each group, one member of it, several at once."""

from threading import Barrier, Event

from common.messaging.port import Delivery, Message
from tests.contract.messaging.harness import Harness, Received
from tests.support.waiting import TIMEOUT_S, wait_until


def test_message_arrives_as_it_was_sent(harness: Harness) -> None:
    topic, received = harness.topic(), Received()
    broker = harness.started(handlers={(topic, "order"): received})
    messages = [
        Message(topic, "plain", b'{"a": 1}'),
        Message(topic, "键 ключ 🗝", bytes(range(256))),
        Message(topic, "", b""),
    ]

    for message in messages:
        broker.publish(message)

    received.wait_for(*(message.key for message in messages))
    assert {delivery.message for delivery in received.deliveries} == set(messages)
    assert len({delivery.message_id for delivery in received.deliveries}) == 3


def test_two_consumers_of_a_group_share_the_work_each_message_once(harness: Harness) -> None:
    topic = harness.topic()
    both_work = Event()

    def wait_for_the_other(_: Delivery) -> None:  # or one consumer alone might be quick enough to have them all
        if first.keys and second.keys:
            both_work.set()
        assert both_work.wait(TIMEOUT_S)

    first, second = Received(wait_for_the_other), Received(wait_for_the_other)
    sender = harness.started(handlers={(topic, "order"): first})
    harness.started(handlers={(topic, "order"): second})
    keys = [str(number) for number in range(100)]

    for key in keys:
        sender.publish(Message(topic, key, b""))

    wait_until(lambda: (first.keys + second.keys).total() >= len(keys), "all messages")
    assert first.keys + second.keys == dict.fromkeys(keys, 1)
    assert both_work.is_set()


def test_each_of_two_groups_gets_everything(harness: Harness) -> None:
    topic, inventory, order = harness.topic(), Received(), Received()
    broker = harness.started(handlers={(topic, "inventory"): inventory, (topic, "order"): order})
    keys = [str(number) for number in range(20)]

    for key in keys:
        broker.publish(Message(topic, key, b""))

    inventory.wait_for(*keys)
    order.wait_for(*keys)


def test_one_groups_failure_is_not_the_others(harness: Harness) -> None:
    def fail(delivery: Delivery) -> None:
        raise RuntimeError("mine alone")

    topic, failing, good = harness.topic(), Received(fail), Received()
    broker = harness.started(handlers={(topic, "failing"): failing, (topic, "good"): good})

    broker.publish(Message(topic, "order-1", b""))

    failing.wait_for("order-1", times=2)
    good.wait_for("order-1")
    assert good.keys == {"order-1": 1}


def test_several_messages_are_handled_at_once(harness: Harness) -> None:
    meeting = Barrier(harness.handlers)
    topic, received = harness.topic(), Received(lambda _: meeting.wait(30))
    broker = harness.started(handlers={(topic, "order"): received})

    for number in range(harness.handlers):
        broker.publish(Message(topic, str(number), b""))

    received.wait_for(*(str(number) for number in range(harness.handlers)))
    assert not meeting.broken


def test_message_from_before_the_first_subscription_is_kept_for_it(harness: Harness) -> None:
    topic, received = harness.topic(), Received()
    harness.open().publish(Message(topic, "order-1", b""))

    harness.started(handlers={(topic, "order"): received})

    received.wait_for("order-1")


def test_handler_may_publish(harness: Harness) -> None:
    topic, next_topic, received = harness.topic(), harness.topic(), Received()
    broker = harness.open()
    broker.subscribe(topic, "order", lambda delivery: broker.publish(Message(next_topic, delivery.message.key, b"")))
    broker.subscribe(next_topic, "order", received)
    broker.start()
    keys = [str(number) for number in range(50)]

    for key in keys:
        broker.publish(Message(topic, key, b""))

    received.wait_for(*keys)


def test_topics_and_prefixes_are_kept_apart(harness: Harness) -> None:
    topic, other_topic, received, other = harness.topic(), harness.topic(), Received(), Received()
    broker = harness.started(handlers={(topic, "order"): received, (other_topic, "order"): other})
    environment, harness.prefix = harness.prefix, harness.prefix + "other-"
    elsewhere = harness.started(handlers={(topic, "order"): other})
    harness.prefix = environment

    elsewhere.publish(Message(topic, "elsewhere", b""))
    broker.publish(Message(topic, "here", b""))

    received.wait_for("here")
    other.wait_for("elsewhere")
    assert received.keys == {"here": 1}
    assert other.keys == {"elsewhere": 1}
