"""Statements that go with COMMIT, to a server."""

from collections.abc import Iterator
from typing import Any

import peewee
import pymysql
import pytest

from common.database import CommitUnknown, Database
from tests.contract.database.harness import MysqlHarness
from tests.contract.database.notes import numbers, put
from tests.engines import MYSQL_URL


@pytest.fixture
def harness() -> Iterator[MysqlHarness]:
    made = MysqlHarness(MYSQL_URL)
    yield made
    made.end()


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
    new, changed = ("INSERT INTO note (word, number) VALUES (?, ?)", ["b", 2]), ("UPDATE note SET number = ?", [3])
    database.write(lambda: database.at_commit([new], [(changed, 2)]))

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
    statements: list[tuple[str, list[Any]]] = [
        ("INSERT INTO note (word, number) VALUES (?, ?)", ["a", 1]),
        ("INSERT INTO nowhere (word) VALUES (?)", ["a"]),
    ]
    with pytest.raises(peewee.ProgrammingError, match="nowhere"):
        database.write(lambda: database.at_commit(statements))

    assert numbers(database) == {}


def test_a_sum_that_is_too_large_is_not_taken_for_a_missing_row(database: Database) -> None:
    put(database, "a", 2**63 - 1)

    with pytest.raises(peewee.DatabaseError, match="out of range"):
        database.write(lambda: database.at_commit([], [(("UPDATE note SET number = number + 1", []), 1)]))

    assert numbers(database) == {"a": 2**63 - 1}


def test_a_connection_that_is_lost_under_them_is_a_commit_that_nobody_knows_of(
    harness: MysqlHarness, database: Database
) -> None:
    def work() -> None:
        database.at_commit([("INSERT INTO note (word, number) VALUES (?, ?)", ["a", 1])])
        harness.kill(database)

    with pytest.raises(CommitUnknown):
        database.write(work)

    assert numbers(database) == {}
    put(database, "b", 2)
