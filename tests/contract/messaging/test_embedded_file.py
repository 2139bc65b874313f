"""What the embedded broker keeps in its file, and for how long."""

from datetime import timedelta
from pathlib import Path
from threading import Event, Thread

import pytest

from common.clock import SystemClock
from common.messaging.embedded.broker import EmbeddedBroker
from common.messaging.embedded.url import EmbeddedUrl
from common.messaging.port import BrokerUnavailable, Message, Resolution
from common.messaging.retries import LAST_ATTEMPT_LOST
from tests.contract.messaging.embedded_files import Open, rows
from tests.contract.messaging.harness import Database, Received
from tests.support.manual_clock import ManualClock
from tests.support.sqlite_processes import ask_in_another_process
from tests.support.waiting import wait_until


def pages(file: Path) -> int:
    ((count,),) = rows(file, "PRAGMA page_count")
    return int(str(count))


def entries(file: Path) -> list[tuple[object, ...]]:
    return rows(file, "SELECT consumers, key FROM entries JOIN queues ON queues.id = queue ORDER BY consumers, key")


def test_handled_messages_leave_nothing_behind(file: Path, open_broker: Open) -> None:
    broker, received = open_broker(), Received()
    broker.subscribe("topic", "order", received)
    broker.start()
    for number in range(20):
        broker.publish(Message("topic", str(number), b""))
        broker.in_transaction(Message("topic", f"yes-{number}", b""), lambda: Resolution.COMMIT)
        broker.in_transaction(Message("topic", f"no-{number}", b""), lambda: Resolution.ROLLBACK)

    received.wait_for(*(f"yes-{number}" for number in range(20)), *map(str, range(20)))

    wait_until(lambda: entries(file) == [], "an empty table")


def test_file_does_not_grow_for_ever(file: Path, open_broker: Open) -> None:
    broker, received, sizes = open_broker(), Received(), []
    broker.subscribe("topic", "order", received)
    broker.start()

    for turn in range(6):
        keys = [f"{turn}-{number}" for number in range(100)]
        for key in keys:
            broker.publish(Message("topic", key, bytes(10_000)))
        received.wait_for(*keys)
        wait_until(lambda: entries(file) == [], "an empty table")
        sizes.append(file.stat().st_size + file.with_name("broker.db-wal").stat().st_size)

    assert sizes[-1] <= sizes[2] * 1.5


def test_pages_no_longer_used_are_given_back(file: Path, open_broker: Open) -> None:
    broker, received = open_broker(), Received()
    for number in range(100):
        broker.publish(Message("topic", str(number), bytes(20_000)))
    before = pages(file)

    broker.subscribe("topic", "order", received)
    broker.start()
    received.wait_for(*map(str, range(100)))
    wait_until(lambda: entries(file) == [], "an empty table")
    broker._tidy()

    assert before > 400
    wait_until(lambda: pages(file) < 50, "a small file")


def test_commit_that_comes_after_a_check_backs_rollback_is_obeyed(file: Path, open_broker: Open) -> None:
    clock, received, database, decided = ManualClock(), Received(), Database(), Event()
    broker = open_broker(clock)
    broker.subscribe("topic", "inventory", received)
    broker.answer_check_backs("topic", database.check)
    broker.start()
    database.decide("order-1", Resolution.ROLLBACK)

    def decide() -> Resolution:
        decided.wait(60)
        return Resolution.COMMIT

    sender = Thread(target=broker.in_transaction, args=(Message("topic", "order-1", b"body"), decide))
    sender.start()
    wait_until(lambda: file.exists() and entries(file) != [], "a half message")
    clock.advance(timedelta(seconds=6))
    database.wait_for_check_back("order-1")
    wait_until(lambda: entries(file) == [("%settled", "order-1")], "a half message that is kept")
    decided.set()
    sender.join()

    received.wait_for("order-1")
    wait_until(lambda: entries(file) == [], "an empty table")


def test_half_message_rolled_back_by_a_check_back_is_forgotten_after_a_while(file: Path, open_broker: Open) -> None:
    clock, database = ManualClock(), Database()
    broker = open_broker(clock, keep_settled=60)
    broker.answer_check_backs("topic", database.check)
    broker.start()
    database.decide("order-1", Resolution.ROLLBACK)
    broker.in_transaction(Message("topic", "order-1", b""), lambda: Resolution.UNKNOWN)
    clock.advance(timedelta(seconds=6))
    wait_until(lambda: entries(file) == [("%settled", "order-1")], "a half message that is kept")

    clock.advance(timedelta(seconds=59))
    broker._tidy()
    broker.publish(Message("other", "written after it", b""))
    assert ("%settled", "order-1") in entries(file)
    clock.advance(timedelta(seconds=2))
    broker._tidy()

    wait_until(lambda: ("%settled", "order-1") not in entries(file), "the half message to be forgotten")


def test_half_message_given_up_after_check_max_rounds_can_be_replayed(open_broker: Open) -> None:
    received, database = Received(), Database()
    broker = open_broker(check_after=0, check_every=0, check_max=3)
    broker.subscribe("topic", "inventory", received)
    broker.answer_check_backs("topic", database.check)
    broker.start()

    broker.in_transaction(Message("topic", "order-1", b""), lambda: Resolution.UNKNOWN)

    wait_until(lambda: len(broker.dead_letters("topic", "%check-back")) == 1, "a dead letter")
    assert database.check_backs == ["order-1"] * 3
    (letter,) = broker.dead_letters("topic", "%check-back")
    assert (letter.attempts, letter.message.key) == (3, "order-1")
    database.decide("order-1", Resolution.COMMIT)
    broker.replay("topic", "%check-back", letter.id)
    received.wait_for("order-1")


def test_later_group_gets_what_becomes_due_after_it_came(open_broker: Open) -> None:
    clock, first, second = ManualClock(), Received(), Received()
    one = open_broker(clock)
    one.subscribe("topic", "first", first)
    one.start()
    one.publish(Message("topic", "before", b""))
    first.wait_for("before")
    one.publish_later(Message("topic", "delayed", b""), timedelta(minutes=1))

    other = open_broker(clock)
    other.subscribe("topic", "second", second)
    other.start()
    clock.advance(timedelta(minutes=2))

    for received in (first, second):
        received.wait_for("delayed")
    assert first.keys == {"before": 1, "delayed": 1}
    assert second.keys == {"delayed": 1}


def test_message_whose_last_handler_died_is_a_dead_letter(file: Path, open_broker: Open) -> None:
    broker, received = open_broker(tries=3), Received()
    broker.publish(Message("topic", "order-1", b""))
    rows(file, "UPDATE entries SET attempt = 3, leased_until = 1, token = 7")
    broker.subscribe("topic", "order", received)

    broker.start()

    wait_until(lambda: len(broker.dead_letters("topic", "order")) == 1, "a dead letter")
    (letter,) = broker.dead_letters("topic", "order")
    assert letter.attempts == 3
    assert letter.error == LAST_ATTEMPT_LOST
    assert received.deliveries == []


def test_lease_of_before_a_reboot_does_not_hold_a_message(file: Path, open_broker: Open) -> None:
    broker, received = open_broker(), Received()
    broker.publish(Message("topic", "order-1", b""))
    rows(file, "UPDATE entries SET attempt = 1, leased_until = 1 << 60, token = 7")
    broker.subscribe("topic", "order", received)

    broker.start()

    received.wait_for("order-1")


def test_file_of_another_version_is_refused(file: Path, open_broker: Open) -> None:
    rows(file, "PRAGMA user_version = 99")

    with pytest.raises(BrokerUnavailable, match="version 99"):
        open_broker().publish(Message("topic", "order-1", b""))


def test_folder_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a file").touch()
    broker = EmbeddedBroker(
        EmbeddedUrl.parse(f"embedded:///{tmp_path}/a file/broker.db"), topic_prefix="", clock=SystemClock()
    )

    with pytest.raises(BrokerUnavailable, match="a file"):
        broker.publish(Message("topic", "order-1", b""))
    broker.close()


def test_a_broker_that_starts_after_its_first_message_loses_none_of_the_next(file: Path, open_broker: Open) -> None:
    broker = open_broker()
    broker.publish(Message("topic", "early", b""))
    broker.start()
    assert ask_in_another_process(file, "SELECT key FROM entries") == [["early"]]

    broker.publish(Message("topic", "late", b""))

    assert ask_in_another_process(file, "SELECT key FROM entries ORDER BY key") == [["early"], ["late"]]


def test_a_file_of_another_program_is_refused_and_left_alone_before_the_broker_starts(
    file: Path, open_broker: Open
) -> None:
    rows(file, "CREATE TABLE bookmarks (url TEXT)")

    with pytest.raises(BrokerUnavailable, match="belongs to another program"):
        open_broker().dead_letters("topic", "order")

    assert rows(file, "SELECT name FROM sqlite_master") == [("bookmarks",)]


def test_ids_are_never_used_twice(open_broker: Open) -> None:
    received = Received()
    for turn in range(3):
        broker = open_broker()
        broker.subscribe("topic", "order", received)
        broker.start()
        broker.publish(Message("topic", f"{turn}", b""))
        received.wait_for(f"{turn}")
        broker.close()

    assert len({delivery.message_id for delivery in received.deliveries}) == 3


@pytest.mark.parametrize(
    "query",
    [
        "SELECT due FROM entries WHERE queue = 1 AND leased_until = 0 ORDER BY due LIMIT 1",
        "SELECT id FROM entries WHERE queue = 1 AND due <= 5 AND (leased_until <= 5 OR leased_until > 9) ORDER BY due",
        "DELETE FROM entries WHERE queue IN (SELECT id FROM queues WHERE consumers IN ('a')) AND due <= 5",
        "DELETE FROM entries WHERE id = 1 AND queue = 1 AND token = 1",
        "SELECT * FROM entries AS half JOIN queues ON queues.topic = 't' WHERE half.id = 1 AND half.queue IN (1, 2, 3)",
    ],
)
def test_no_query_reads_all_entries(file: Path, open_broker: Open, query: str) -> None:
    open_broker().publish(Message("topic", "order-1", b""))

    plan = [str(row[3]) for row in rows(file, f"EXPLAIN QUERY PLAN {query}")]

    assert not [step for step in plan if step.startswith(("SCAN entries", "SCAN half", "USE TEMP B-TREE"))]


def test_recheck_delivers_a_committed_message_twice_and_comes_only_once(file: Path, open_broker: Open) -> None:
    broker, received, database = open_broker(recheck="on", check_after=0.1), Received(), Database()
    broker.subscribe("topic", "inventory", received)
    broker.answer_check_backs("topic", database.check)
    broker.start()

    broker.in_transaction(Message("topic", "order-1", b""), lambda: database.decide("order-1", Resolution.COMMIT))

    received.wait_for("order-1", times=2)
    wait_until(lambda: entries(file) == [], "an empty table")
    assert database.check_backs == ["order-1"]


def test_asking_again_finds_out_a_checker_that_contradicts_its_sender(open_broker: Open) -> None:
    broker, received = open_broker(recheck="on", check_after=0.1), Received()
    broker.subscribe("topic", "inventory", received)
    broker.answer_check_backs("topic", lambda _: Resolution.COMMIT)
    broker.start()

    broker.in_transaction(Message("topic", "order-1", b""), lambda: Resolution.ROLLBACK)

    received.wait_for("order-1")


@pytest.mark.parametrize("dead_letter_id", ["", "0", "-1", "1_0", "٣", "one", "1" * 30, "1" * 4301])
def test_replay_of_what_is_no_dead_letters_id_is_a_key_error(open_broker: Open, dead_letter_id: str) -> None:
    with pytest.raises(KeyError, match="no dead letter"):
        open_broker().replay("topic", "inventory", dead_letter_id)
