"""Statements that go with COMMIT, to a server."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import peewee
import pymysql
import pytest

from common.database import CommitUnknown, Database
from tests.contract.database.harness import MysqlHarness
from tests.contract.database.notes import new_note, numbers, put
from tests.support.databases import ask, kill
from tests.support.waiting import TIMEOUT_S, wait_until

NEW: Final = new_note("b", 2)


@pytest.fixture
def harness(mysql_harness: MysqlHarness) -> MysqlHarness:
    return mysql_harness


@pytest.fixture
def database(harness: MysqlHarness) -> Database:
    return harness.open(connections=1)


def test_the_whole_transaction_is_one_packet(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    put(database, "a", 1)
    packets: list[str] = []
    send = pymysql.connections.Connection._execute_command

    def counted(connection: object, command: int, text: bytes) -> None:
        packets.append(bytes(text).decode())
        send(connection, command, text)

    monkeypatch.setattr(pymysql.connections.Connection, "_execute_command", counted)
    database.write(lambda: database.at_commit([NEW], [(("UPDATE note SET number = ?", [3]), 2)]))

    (packet,) = packets
    assert packet.startswith("BEGIN;INSERT")
    assert packet.endswith(";COMMIT")
    assert numbers(database) == {"a": 3, "b": 3}


def test_a_check_that_one_breaks_is_a_broken_rule(database: Database) -> None:
    with database.reading():
        database.engine.execute_sql("ALTER TABLE note ADD CHECK (number >= 0)")
    put(database, "a", 1)

    with pytest.raises(peewee.IntegrityError):
        database.write(lambda: database.at_commit([], [(("UPDATE note SET number = number - 2", []), 1)]))

    assert numbers(database) == {"a": 1}


def test_a_bug_in_one_is_told_as_it_is(database: Database) -> None:
    statements = [new_note("a", 1), ("INSERT INTO nowhere (word) VALUES (?)", ["a"])]
    with pytest.raises(peewee.ProgrammingError, match="nowhere"):
        database.write(lambda: database.at_commit(statements))

    assert numbers(database) == {}


def test_a_sum_that_is_too_large_is_not_taken_for_a_missing_row(database: Database) -> None:
    put(database, "a", 2**63 - 1)

    with pytest.raises(peewee.DatabaseError, match="out of range"):
        database.write(lambda: database.at_commit([], [(("UPDATE note SET number = number + 1", []), 1)]))

    assert numbers(database) == {"a": 2**63 - 1}


@pytest.mark.parametrize("slow", ["work", "packet"])
def test_a_connection_that_is_lost_under_them_is_a_commit_that_nobody_knows_of(
    harness: MysqlHarness, database: Database, slow: str
) -> None:
    begun = threading.Event()
    threads: list[int] = []

    def work() -> None:
        threads.append(database.engine.connection().thread_id())
        wait = "SLEEP(20)" if slow == "packet" else "0"
        database.at_commit([(f"INSERT INTO note (word, number) VALUES (?, {wait})", ["a"])])
        if slow == "work":
            harness.kill(database)
        begun.set()

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(database.write, work)
        assert begun.wait(TIMEOUT_S)
        if slow == "packet":
            sleeping = (
                f"SELECT COUNT(*) FROM information_schema.processlist WHERE id = {threads[0]} AND info LIKE '%SLEEP%'"
            )
            wait_until(lambda: bool(ask(harness.url, sleeping)), "the packet runs")
            kill(harness.url, threads[0])
        with pytest.raises(CommitUnknown):
            writing.result(TIMEOUT_S)

    assert numbers(database) == {}
    put(database, "b", 2)


def answer_to_commit(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """Let the server answer the next packet's COMMIT with an error."""
    next_result = pymysql.cursors.Cursor.nextset

    def failing(cursor: Any) -> Any:
        more = next_result(cursor)
        if more and not cursor.connection._result.has_next:  # this one is of COMMIT
            monkeypatch.setattr(pymysql.cursors.Cursor, "nextset", next_result)
            raise pymysql.OperationalError(number, "told by the server")
        return more

    monkeypatch.setattr(pymysql.cursors.Cursor, "nextset", failing)


def test_an_error_of_commit_itself_is_unknown(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    answer_to_commit(monkeypatch, 1180)  # an error during COMMIT

    with pytest.raises(CommitUnknown):
        database.write(lambda: database.at_commit([NEW]))


def test_a_commit_that_others_were_in_the_way_of_is_repeated_with_the_whole(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []

    def work() -> None:
        tries.append(1)
        database.at_commit([("REPLACE INTO note (word, number) VALUES (?, ?)", ["a", len(tries)])])

    answer_to_commit(monkeypatch, 1213)  # as Galera does
    database.write(work)

    assert numbers(database) == {"a": 2}


def test_each_thread_has_its_own(harness: MysqlHarness) -> None:
    shared = harness.open(connections=2)
    meet = threading.Barrier(2)

    def write(word: str) -> None:
        def work() -> None:
            shared.at_commit([new_note(word, 1)])
            meet.wait(TIMEOUT_S)
            if word == "a":
                raise KeyError(word)

        shared.write(work)

    with ThreadPoolExecutor(2) as pool:
        failing, writing = pool.submit(write, "a"), pool.submit(write, "b")
        with pytest.raises(KeyError):
            failing.result(TIMEOUT_S)
        writing.result(TIMEOUT_S)
    assert numbers(shared) == {"b": 1}
