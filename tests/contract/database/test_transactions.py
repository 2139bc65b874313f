import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import peewee
import pytest

from common.database import CommitUnknown, Database, DatabaseUnavailable
from tests.contract.database.harness import Harness, Note
from tests.contract.database.notes import add_one, insert, numbers, put
from tests.support.waiting import TIMEOUT_S


def test_what_work_wrote_is_there_for_everyone_when_write_returns(harness: Harness, database: Database) -> None:
    def work() -> str:
        insert(database, "a", 1)
        insert(database, "b", 2)
        return "done"

    assert database.write(work) == "done"
    assert numbers(harness.open()) == {"a": 1, "b": 2}


def test_nobody_sees_what_is_not_committed(harness: Harness, database: Database) -> None:
    other = harness.open()

    def work() -> dict[str, int]:
        insert(database, "a", 1)
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(numbers, other).result(TIMEOUT_S)

    assert database.write(work) == {}
    assert numbers(other) == {"a": 1}


def test_what_work_has_read_nobody_changes_before_it_is_done(harness: Harness, database: Database) -> None:
    other = harness.open()
    put(database, "a", 1)
    with ThreadPoolExecutor(1) as pool:

        def work() -> "Future[int]":
            query = database.locking(Note.select(Note.number).where(Note.key == "a"))
            database.engine.execute(query).fetchone()
            adding = pool.submit(other.write, lambda: add_one(other, "a"))
            with pytest.raises(TimeoutError):
                adding.result(0.2)
            return adding

        assert database.write(work).result(TIMEOUT_S) == 2


def test_what_work_raises_rolls_everything_back_and_is_raised(database: Database) -> None:
    def work() -> None:
        insert(database, "a", 1)
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        database.write(work)

    assert numbers(database) == {}
    put(database, "a", 2)
    assert numbers(database) == {"a": 2}


def test_a_broken_rule_of_the_table_rolls_everything_back_and_is_raised(database: Database) -> None:
    put(database, "a", 1)

    def work() -> None:
        insert(database, "b", 1)
        insert(database, "a", 2)

    with pytest.raises(peewee.IntegrityError):
        database.write(work)

    assert numbers(database) == {"a": 1}


def test_transactions_do_not_nest(database: Database) -> None:
    def work() -> None:
        insert(database, "a", 1)
        put(database, "b", 2)

    with pytest.raises(AssertionError, match="nest"):
        database.write(work)

    assert numbers(database) == {}


def test_reading_within_a_transaction_sees_what_it_wrote(database: Database) -> None:
    def work() -> dict[str, int]:
        insert(database, "a", 1)
        return numbers(database)

    assert database.write(work) == {"a": 1}


def test_the_whole_of_work_is_repeated_for_the_errors_it_is_told_to(database: Database) -> None:
    tries: list[int] = []

    def work() -> int:
        tries.append(1)
        insert(database, f"try {len(tries)}", 1)
        if len(tries) < 3:
            raise KeyError("again")
        return len(tries)

    assert database.write(work, repeat_on=KeyError) == 3
    assert numbers(database) == {"try 3": 1}


def test_the_repeats_have_an_end_and_then_the_error_itself_is_raised(database: Database) -> None:
    tries: list[int] = []

    def work() -> None:
        tries.append(1)
        insert(database, "a", 1)
        raise KeyError("always")

    with pytest.raises(KeyError, match="always"):
        database.write(work, repeat_on=(KeyError, ValueError))

    assert 1 < len(tries) < 100
    assert numbers(database) == {}


def test_a_duplicate_key_is_explained_when_the_whole_is_repeated(harness: Harness, database: Database) -> None:
    """As two replicas that write one order: the second finds what the first wrote."""
    other = harness.open()
    seen: list[dict[str, int]] = []

    def work() -> str:
        seen.append(numbers(database))
        if len(seen) == 1:
            raise peewee.IntegrityError("duplicate key")  # what an engine says that let both insert
        return "found" if "a" in seen[-1] else "absent"

    put(other, "a", 1)
    assert database.write(work, repeat_on=peewee.IntegrityError) == "found"


def test_who_is_held_up_by_others_tries_again_until_it_is_done(harness: Harness) -> None:
    database = harness.open(busy_timeout=0.05)
    with ThreadPoolExecutor(1) as pool:
        with harness.in_the_way():
            writing = pool.submit(put, database, "a", 1)
            with pytest.raises(TimeoutError):
                writing.result(0.2)
        writing.result(TIMEOUT_S)

    assert numbers(database) == {"a": 1}


def test_who_is_held_up_for_too_long_is_told_unavailable_and_wrote_nothing(
    harness: Harness,
) -> None:
    database = harness.open(busy_timeout=0.005, timeout=0.1)
    with harness.in_the_way(), pytest.raises(DatabaseUnavailable) as refused:
        put(database, "a", 1)

    assert not isinstance(refused.value, CommitUnknown)
    assert numbers(database) == {}
    put(database, "a", 2)
    assert numbers(database) == {"a": 2}


def test_a_reader_is_not_held_up_by_a_writer(harness: Harness, database: Database) -> None:
    put(database, "a", 1)
    with harness.in_the_way():
        assert numbers(database) == {"a": 1}


@pytest.mark.parametrize("pools", [1, 2])
def test_no_addition_of_many_threads_is_lost(harness: Harness, pools: int) -> None:
    databases = [harness.open() for _ in range(pools)]
    put(databases[0], "a", 0)
    started = threading.Barrier(8)

    def add(turn: int) -> list[int]:
        database = databases[turn % pools]
        started.wait(TIMEOUT_S)
        return [database.write(lambda: add_one(database, "a")) for _ in range(15)]

    with ThreadPoolExecutor(8) as pool:
        sums = [result for results in pool.map(add, range(8)) for result in results]

    assert sorted(sums) == list(range(1, 121))
    assert numbers(databases[0]) == {"a": 120}


@pytest.mark.parametrize("landed", [True, False])
def test_a_connection_lost_at_commit_is_told_as_unknown_whatever_happened(
    harness: Harness, database: Database, landed: bool
) -> None:
    harness.lose_commit(database, landed=landed)

    with pytest.raises(CommitUnknown):
        put(database, "a", 1)

    assert numbers(database) == ({"a": 1} if landed else {})
    put(database, "b", 2)
    assert numbers(database)["b"] == 2


def test_a_lost_commit_is_never_repeated_by_itself(harness: Harness, database: Database) -> None:
    put(database, "a", 0)
    harness.lose_commit(database, landed=True)

    with pytest.raises(CommitUnknown):
        database.write(lambda: add_one(database, "a"), repeat_on=KeyError)

    assert numbers(database) == {"a": 1}


def test_an_update_counts_the_rows_that_it_found_changed_or_not(database: Database) -> None:
    put(database, "a", 1)
    statement = "UPDATE note SET number = ? WHERE word = ?"

    assert database.write(lambda: database.execute(statement, (1, "a")).rowcount) == 1
    assert database.write(lambda: database.execute(statement, (2, "a")).rowcount) == 1
    assert database.write(lambda: database.execute(statement, (2, "b")).rowcount) == 0
    assert database.write(lambda: database.execute_many(statement, [(2, "a"), (2, "a")])) == 2
    query = Note.update(number=2).where(Note.key == "a")
    assert database.write(lambda: database.engine.execute(query).rowcount) == 1


def test_rows_that_change_alike_are_changed_by_few_statements_that_count_what_they_found(database: Database) -> None:
    words = [f"w{number:03}" for number in range(70)]
    database.write(lambda: database.insert_many("note (word, number)", [(word, 1) for word in words]))
    keys = [(word, 1) for word in words[:-1]] + [(words[-1], 8)]  # the last is not as it is said to be

    def change() -> tuple[int, int]:
        updates = list(database.updating("note SET number = number + ?", [5], "word = ? AND number = ?", keys))
        found = database.run_all([statement for statement, _ in updates])
        return sum(found), sum(rows for _, rows in updates)

    assert database.write(change) == (69, 70)
    assert numbers(database) == dict.fromkeys(words[:-1], 6) | {words[-1]: 1}


def test_a_transaction_that_runs_nothing_leaves_none_open(database: Database) -> None:
    put(database, "a", 1)
    assert database.write(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        database.write(lambda: 1 // 0)

    with database.reading(), ThreadPoolExecutor(1) as elsewhere:
        database.execute("UPDATE note SET number = 2")  # committed at once, were no transaction begun before it
        assert elsewhere.submit(numbers, database).result() == {"a": 2}


def test_a_first_statement_that_fails_is_told_and_leaves_nothing(database: Database) -> None:
    put(database, "b", 1)
    statements: list[tuple[str, list[Any]]] = [
        ("UPDATE note SET number = ?", [2]),
        ("INSERT INTO note (word, number) VALUES (?, ?)", ["b", 3]),
    ]
    with pytest.raises(peewee.IntegrityError):
        database.write(lambda: database.run_all(statements))

    put(database, "c", 2)
    assert numbers(database) == {"b": 1, "c": 2}


def test_a_transaction_that_begins_with_many_rows_of_one_statement_is_one_too(database: Database) -> None:
    put(database, "a", 1)

    def work() -> None:
        database.execute_many("UPDATE note SET number = ? WHERE word = ?", [(2, "a")])
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        database.write(work)
    assert numbers(database) == {"a": 1}


def test_a_read_within_a_transaction_does_not_keep_it_from_being_repeated(database: Database) -> None:
    tries: list[int] = []

    def work() -> int:
        tries.append(1)
        with database.reading():
            if len(tries) == 1:
                raise peewee.OperationalError(1213, "database is locked")  # both engines' words
        return len(tries)

    assert database.write(work) == 2
