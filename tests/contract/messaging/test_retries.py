"""A handler that raises: again, later and later, then a dead letter that can be replayed."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from common.messaging.port import Broker, DeadLetter, Delivery, Message
from tests.contract.messaging.harness import Harness, Received
from tests.support.waiting import wait_until


def always(delivery: Delivery) -> None:
    raise RuntimeError(f"no luck\nwith {delivery.message.key}")


def wait_for_dead_letters(broker: Broker, topic: str, count: int, group: str = "order") -> list[DeadLetter]:
    wait_until(lambda: len(broker.dead_letters(topic, group)) >= count, f"{count} dead letters")
    return broker.dead_letters(topic, group)


def test_failed_message_comes_again_after_growing_pauses(harness: Harness) -> None:
    topic, received = harness.topic(), Received(always)
    broker = harness.started(handlers={(topic, "order"): received})

    broker.publish(Message(topic, "order-1", b"body"))

    received.wait_for("order-1", times=harness.tries)
    pauses = [later - earlier for (earlier, _), (later, _) in pairwise(received.timed)]
    assert all(pause >= least for pause, least in zip(pauses, harness.retry_pauses, strict=True))
    assert [delivery.attempt for delivery in received.deliveries] == list(range(1, harness.tries + 1))
    assert len({delivery.message_id for delivery in received.deliveries}) == 1


def test_message_that_succeeds_at_last_is_no_dead_letter(harness: Harness) -> None:
    def fail_twice(delivery: Delivery) -> None:
        if delivery.attempt < 3:
            raise RuntimeError("not yet")

    topic, received = harness.topic(), Received(fail_twice)
    broker = harness.started(handlers={(topic, "order"): received})

    broker.publish(Message(topic, "order-1", b""))
    received.wait_for("order-1", times=3)
    broker.publish(Message(topic, "order-2", b""))
    received.wait_for("order-2", times=3)

    assert received.keys["order-1"] == 3
    assert broker.dead_letters(topic, "order") == []


def test_message_is_a_dead_letter_after_its_last_try(harness: Harness) -> None:
    topic, received = harness.topic(), Received(always)
    broker = harness.started(handlers={(topic, "order"): received})
    message = Message(topic, "order-1", b"\x00body")

    broker.publish(message)

    (letter,) = wait_for_dead_letters(broker, topic, 1)
    assert (letter.message, letter.group, letter.attempts) == (message, "order", harness.tries)
    assert "no luck with order-1" in letter.error
    assert "\n" not in letter.error
    assert abs(letter.dead_time - datetime.now(UTC)) < timedelta(minutes=1)
    assert received.keys == {"order-1": harness.tries}


def test_dead_letters_are_listed_oldest_first_up_to_a_limit(harness: Harness) -> None:
    topic = harness.topic()
    broker = harness.started(handlers={(topic, "order"): always})
    for number in range(3):
        broker.publish(Message(topic, str(number), b""))
        wait_for_dead_letters(broker, topic, number + 1)

    assert [letter.message.key for letter in broker.dead_letters(topic, "order")] == ["0", "1", "2"]
    assert [letter.message.key for letter in broker.dead_letters(topic, "order", limit=2)] == ["0", "1"]
    assert broker.dead_letters(topic, "inventory") == []
    assert broker.dead_letters(harness.topic(), "order") == []


def test_dead_letters_can_be_listed_and_replayed_without_start(harness: Harness) -> None:
    repaired: list[bool] = []

    def fail_until_repaired(delivery: Delivery) -> None:
        if not repaired:
            raise RuntimeError("broken")

    topic, received = harness.topic(), Received(fail_until_repaired)
    broker = harness.started(handlers={(topic, "order"): received})
    broker.publish(Message(topic, "order-1", b""))
    operator = harness.open()

    (letter,) = wait_for_dead_letters(operator, topic, 1)
    repaired.append(True)
    operator.replay(topic, "order", letter.id)

    received.wait_for("order-1", times=harness.tries + 1)
    assert received.deliveries[-1].message == Message(topic, "order-1", b"")
    assert operator.dead_letters(topic, "order") == []


def test_replayed_message_has_all_its_tries_again(harness: Harness) -> None:
    topic, received = harness.topic(), Received(always)
    broker = harness.started(handlers={(topic, "order"): received})
    broker.publish(Message(topic, "order-1", b""))
    (letter,) = wait_for_dead_letters(broker, topic, 1)

    broker.replay(topic, "order", letter.id)

    received.wait_for("order-1", times=2 * harness.tries)
    (again,) = wait_for_dead_letters(broker, topic, 1)
    assert again.attempts == harness.tries
    assert received.keys == {"order-1": 2 * harness.tries}


def test_replay_of_what_is_not_there_is_refused(harness: Harness) -> None:
    topic = harness.topic()
    broker = harness.started(handlers={(topic, "order"): always})
    broker.publish(Message(topic, "order-1", b""))
    (letter,) = wait_for_dead_letters(broker, topic, 1)

    for group, letter_id in (("inventory", letter.id), ("order", "4711"), ("order", "no such"), ("order", "")):
        with pytest.raises(KeyError):
            broker.replay(topic, group, letter_id)
    assert broker.dead_letters(topic, "order") == [letter]
