"""Half messages: delivered on COMMIT, dropped on ROLLBACK, checked back on silence."""

from threading import Event, Thread

import pytest

from common.messaging.port import Broker, Message, Resolution
from tests.contract.messaging.harness import Database, Harness, Received
from tests.support.waiting import wait_until

GROUP = "inventory"


def open_with(harness: Harness, database: Database) -> tuple[Broker, str, Received]:
    topic, received = harness.transaction_topic(), Received()
    broker = harness.started(handlers={(topic, GROUP): received}, checkers={topic: database.check})
    return broker, topic, received


def send(broker: Broker, topic: str, key: str, database: Database, resolution: Resolution) -> None:
    broker.in_transaction(Message(topic, key, b"body"), lambda: database.decide(key, resolution))


def go_silent(broker: Broker, topic: str, key: str) -> None:
    assert broker.in_transaction(Message(topic, key, b"body"), lambda: Resolution.UNKNOWN) is Resolution.UNKNOWN


def wait_for_all_before(broker: Broker, topic: str, database: Database, received: Received) -> None:
    """Wait until a committed message came that was sent after everything else."""
    send(broker, topic, "marker", database, Resolution.COMMIT)
    received.wait_for("marker")


def test_committed_half_message_is_delivered(harness: Harness) -> None:
    topic, received, database = harness.transaction_topic(), Received(), Database()
    broker = harness.started(handlers={(topic, GROUP): received}, checkers={topic: database.check})
    message = Message(topic, "order-1", b"\x00\xffbody")

    assert broker.in_transaction(message, lambda: database.decide("order-1", Resolution.COMMIT)) is Resolution.COMMIT

    received.wait_for("order-1")
    assert received.deliveries[0].message == message
    assert received.deliveries[0].attempt == 1


def test_half_message_is_not_delivered_while_its_sender_decides(harness: Harness) -> None:
    database = Database()
    broker, topic, received = open_with(harness, database)
    came_early: list[bool] = []

    def decide() -> Resolution:
        wait_for_all_before(broker, topic, database, received)
        came_early.append("order-1" in received.keys)
        return database.decide("order-1", Resolution.COMMIT)

    broker.in_transaction(Message(topic, "order-1", b""), decide)

    received.wait_for("order-1")
    assert came_early == [False]


def test_rolled_back_half_message_is_never_delivered(harness: Harness) -> None:
    database = Database()
    broker, topic, received = open_with(harness, database)

    send(broker, topic, "order-1", database, Resolution.ROLLBACK)

    if harness.rechecks:
        database.wait_for_check_back("order-1")
    wait_for_all_before(broker, topic, database, received)
    assert "order-1" not in received.keys


def test_check_back_of_a_silent_sender_delivers_its_commit(harness: Harness) -> None:
    database = Database()
    broker, topic, received = open_with(harness, database)
    database.decide("order-1", Resolution.COMMIT)

    go_silent(broker, topic, "order-1")

    received.wait_for("order-1")
    assert "order-1" in database.check_backs


def test_check_back_of_a_silent_sender_obeys_its_rollback(harness: Harness) -> None:
    database = Database()
    broker, topic, received = open_with(harness, database)
    database.decide("order-1", Resolution.ROLLBACK)

    go_silent(broker, topic, "order-1")

    database.wait_for_check_back("order-1")
    wait_for_all_before(broker, topic, database, received)
    assert "order-1" not in received.keys


def test_unknown_brings_check_backs_until_it_is_known(harness: Harness) -> None:
    database = Database()
    broker, topic, received = open_with(harness, database)

    go_silent(broker, topic, "order-1")
    database.wait_for_check_back("order-1", times=3)
    assert "order-1" not in received.keys
    database.decide("order-1", Resolution.COMMIT)

    received.wait_for("order-1")


def test_checker_that_raises_gets_another_check_back(harness: Harness) -> None:
    topic, received, check_backs = harness.transaction_topic(), Received(), []

    def check(message: Message) -> Resolution:
        check_backs.append(message.key)
        if len(check_backs) < 3:
            raise ConnectionError("the database is away")
        return Resolution.COMMIT

    broker = harness.started(handlers={(topic, GROUP): received}, checkers={topic: check})
    go_silent(broker, topic, "order-1")

    received.wait_for("order-1")
    assert len(check_backs) >= 3


def test_checker_gets_the_message_as_it_was_sent(harness: Harness) -> None:
    topic, check_backs = harness.transaction_topic(), []

    def check(message: Message) -> Resolution:
        check_backs.append(message)
        return Resolution.ROLLBACK

    broker = harness.started(checkers={topic: check})
    message = Message(topic, "订单-1", b"\x00\xffbody")
    broker.in_transaction(message, lambda: Resolution.UNKNOWN)

    wait_until(lambda: bool(check_backs), "a check-back")
    assert check_backs[0] == message


def test_check_back_of_one_already_resolved_loses_nothing_and_revives_nothing(harness: Harness) -> None:
    database = Database()
    broker, topic, received = open_with(harness, database)
    committed = [f"committed-{number}" for number in range(5)]
    rolled_back = [f"rolled-back-{number}" for number in range(5)]

    for yes, no in zip(committed, rolled_back, strict=True):
        send(broker, topic, yes, database, Resolution.COMMIT)
        send(broker, topic, no, database, Resolution.ROLLBACK)

    received.wait_for(*committed)
    if harness.rechecks:
        for key in committed + rolled_back:
            database.wait_for_check_back(key)
    wait_for_all_before(broker, topic, database, received)
    assert not set(rolled_back) & set(received.keys)


def test_decide_that_raises_counts_as_unknown_and_is_raised_again(harness: Harness) -> None:
    database = Database()
    broker, topic, received = open_with(harness, database)
    database.decide("order-1", Resolution.COMMIT)

    def decide() -> Resolution:
        raise LookupError("my own")

    with pytest.raises(LookupError, match="my own"):
        broker.in_transaction(Message(topic, "order-1", b""), decide)

    received.wait_for("order-1")
    assert "order-1" in database.check_backs


def test_check_back_during_a_slow_decision_does_not_settle_it(harness: Harness) -> None:
    database, decided = Database(), Event()
    broker, topic, received = open_with(harness, database)

    def decide() -> Resolution:
        decided.wait(60)
        return database.decide("order-1", Resolution.COMMIT)

    sender = Thread(target=broker.in_transaction, args=(Message(topic, "order-1", b""), decide))
    sender.start()
    try:
        database.wait_for_check_back("order-1", times=2)
        assert "order-1" not in received.keys
    finally:
        decided.set()
        sender.join()

    received.wait_for("order-1")


def test_any_process_with_a_checker_gets_check_backs(harness: Harness) -> None:
    topic, received = harness.transaction_topic(), Received()
    sender = harness.started(handlers={(topic, GROUP): received})
    harness.worker("answer", topic, "COMMIT").wait_for("ready")

    go_silent(sender, topic, "order-1")

    received.wait_for("order-1")
