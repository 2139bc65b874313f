"""Connections to a server: what each is set to, and what becomes of those that are lost."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from common.database import Database, DatabaseUnavailable
from tests.contract.database.harness import MIGRATIONS, MysqlHarness
from tests.contract.database.notes import add_one, insert, numbers, put
from tests.support.databases import ask, kill
from tests.support.engines import MYSQL_URL
from tests.support.waiting import TIMEOUT_S

WRONG = "wr0ng"


@pytest.fixture
def harness(mysql_harness: MysqlHarness) -> MysqlHarness:
    return mysql_harness


@pytest.fixture
def database(harness: MysqlHarness) -> Database:
    return harness.open(connections=1)


def connection_of(database: Database) -> int:
    """The number of the pool's only connection."""
    with database.reading():
        ((number,),) = database.execute("SELECT CONNECTION_ID()").fetchall()
        return int(number)


def test_a_connection_serves_one_after_the_other(database: Database) -> None:
    put(database, "a", 0)

    assert connection_of(database) == connection_of(database)


def test_a_connection_that_was_lost_between_transactions_is_replaced_before_anybody_notices(
    harness: MysqlHarness, database: Database
) -> None:
    put(database, "a", 0)
    for _ in range(3):
        kill(harness.url, connection_of(database))
        assert numbers(database) == {"a": 0}
    for sum_after in (1, 2, 3):
        kill(harness.url, connection_of(database))
        assert database.write(lambda: add_one(database, "a")) == sum_after


def test_a_connection_that_is_lost_before_commit_has_written_nothing_and_the_whole_is_repeated(
    harness: MysqlHarness, database: Database
) -> None:
    put(database, "a", 0)
    tries: list[int] = []

    def work() -> int:
        tries.append(1)
        total = add_one(database, "a")
        if len(tries) < 3:
            harness.kill(database)
        insert(database, f"try {len(tries)}", 1)
        return total

    assert database.write(work) == 1
    assert numbers(database) == {"a": 1, "try 3": 1}


def test_a_connection_is_never_replaced_inside_a_transaction(harness: MysqlHarness, database: Database) -> None:
    seen: list[set[int]] = []

    def work() -> None:
        seen.append(set())
        for n in range(3):
            insert(database, f"k{n}", n)
            seen[-1].add(database.engine.connection().thread_id())
            if len(seen) == n == 1:
                harness.kill(database)

    database.write(work)

    assert [len(each) for each in seen] == [1, 1]
    assert seen[0] != seen[1]


def test_reads_whose_connection_is_lost_meanwhile_are_told_unavailable(
    harness: MysqlHarness, database: Database
) -> None:
    def read_while_it_is_lost(hold: Callable[[], AbstractContextManager[None]]) -> None:
        with hold():
            numbers(database)
            harness.kill(database)
            numbers(database)

    for hold in (database.reading, database.snapshot):
        with pytest.raises(DatabaseUnavailable):
            read_while_it_is_lost(hold)
        assert numbers(database) == {}


def test_whoever_holds_rows_and_does_nothing_loses_them_and_does_it_again(harness: MysqlHarness) -> None:
    """As a replica that is stopped in the middle of a transaction, and continued."""
    other = harness.open()
    harness.url += "?idle_transaction=1"
    sleeper = harness.open()
    put(other, "a", 0)
    tries: list[int] = []

    def work() -> int:
        tries.append(1)
        total = add_one(sleeper, "a")
        if len(tries) == 1:
            with ThreadPoolExecutor(1) as pool:
                assert pool.submit(other.write, lambda: add_one(other, "a")).result(TIMEOUT_S) == 1
        insert(sleeper, f"try {len(tries)}", 1)
        return total

    assert sleeper.write(work) == 2
    assert numbers(other) == {"a": 2, "try 2": 1}


def test_every_connection_is_strict_and_reads_what_is_committed(database: Database) -> None:
    names = ("sql_mode", "time_zone", "autocommit", "default_storage_engine", "innodb_lock_wait_timeout")
    with database.reading():
        (values,) = database.execute("SELECT " + ", ".join(f"@@SESSION.{name}" for name in names)).fetchall()
    session = dict(zip(names, values, strict=True))

    assert "STRICT_ALL_TABLES" in session.pop("sql_mode")
    assert session == {
        "time_zone": "+00:00",
        "autocommit": 1,
        "default_storage_engine": "InnoDB",
        "innodb_lock_wait_timeout": 5,
    }


def other_url(*, password: str | None = None, port: int | None = None, name: str = "nowhere", more: str = "") -> str:
    parts = urlsplit(MYSQL_URL)
    secret = parts.password if password is None else password
    return f"mysql://{parts.username}:{secret}@{parts.hostname}:{port or parts.port}/{name}{more}"


def refusal_of(database: Database) -> DatabaseUnavailable:
    with closing(database), pytest.raises(DatabaseUnavailable) as refused:
        put(database, "a", 1)
    return refused.value


def test_a_database_that_is_not_there_is_told_by_name() -> None:
    assert "there is no database 'nowhere'" in str(refusal_of(Database(other_url())))


def test_a_wrong_password_is_told_and_not_repeated_to_anybody() -> None:
    error: BaseException | None = refusal_of(Database(other_url(password=WRONG)))

    assert "refuses its user" in str(error)
    while error is not None:
        assert WRONG not in str(error)
        error = error.__cause__ or error.__context__


@pytest.fixture
def limited(harness: MysqlHarness) -> Iterator[str]:
    """The database's URL for a user who may have two connections."""
    parts, user = urlsplit(harness.url), f"u{uuid4().hex[:8]}"
    ask(harness.url, f"CREATE USER {user}@'%' IDENTIFIED BY 'secret' WITH MAX_USER_CONNECTIONS 2")
    ask(harness.url, f"GRANT ALL ON `{parts.path[1:]}`.* TO {user}@'%'")
    yield f"mysql://{user}:secret@{parts.hostname}:{parts.port}{parts.path}"
    ask(harness.url, f"DROP USER {user}@'%'")


def test_who_finds_the_server_full_is_told_so_and_goes_on_with_the_connections_there_are(limited: str) -> None:
    """The server allows fewer than the pool would like."""
    database = Database(limited, connections=16)
    holding, done = threading.Barrier(3), threading.Event()

    def hold() -> None:
        with database.reading():
            holding.wait(TIMEOUT_S)
            assert done.wait(TIMEOUT_S)

    with closing(database), ThreadPoolExecutor(2) as pool:
        database.migrate(MIGRATIONS)
        holders = [pool.submit(hold) for _ in range(2)]
        holding.wait(TIMEOUT_S)
        try:
            for _ in range(20):  # more often than the pool has places: a refused one takes none
                with pytest.raises(DatabaseUnavailable, match="too many connections"):
                    numbers(database)
        finally:
            done.set()
        for holder in holders:
            holder.result(TIMEOUT_S)
        put(database, "a", 1)
        assert numbers(database) == {"a": 1}


def test_a_server_without_tls_is_refused_by_who_insists_on_it() -> None:
    ((tls,),) = ask(MYSQL_URL, "SELECT @@have_ssl")
    expected = "there is no database" if tls == "YES" else "no encrypted connection"

    assert expected in str(refusal_of(Database(other_url(more="?tls=required"))))


def test_a_server_that_is_not_there_is_told_at_once() -> None:
    with socket.socket() as nobodys:
        nobodys.bind(("127.0.0.1", 0))
        database = Database(other_url(port=nobodys.getsockname()[1]))
        began = time.monotonic()

        refusal_of(database)

        assert time.monotonic() - began < 3


def test_of_a_server_that_never_answers_many_threads_are_told_in_the_time_of_one() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        database = Database(other_url(port=silent.getsockname()[1], more="?connect_timeout=1"), busy_timeout=30)
        began = time.monotonic()
        with ThreadPoolExecutor(16) as pool:
            answer = list(pool.map(lambda _: refusal_of(database), range(16)))

        assert {type(error) for error in answer} == {DatabaseUnavailable}
        assert time.monotonic() - began < 8  # one after the other they would take 16 s


def test_a_statement_that_gets_no_answer_is_given_up(harness: MysqlHarness) -> None:
    harness.url += "?read_timeout=1"
    database = harness.open()

    with pytest.raises(DatabaseUnavailable), database.reading():
        database.execute("SELECT SLEEP(20)")

    assert numbers(database) == {}
