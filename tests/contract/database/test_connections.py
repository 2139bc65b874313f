import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from common.database import Database, DatabaseUnavailable
from tests.contract.database import adder
from tests.contract.database.harness import MIGRATIONS, Harness, Note
from tests.contract.database.notes import numbers, put
from tests.support.waiting import TIMEOUT_S


def test_a_snapshot_sees_one_moment(harness: Harness, database: Database) -> None:
    other = harness.open()
    put(database, "a", 1)
    with database.snapshot():
        before = numbers(database)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(put, other, "b", 2).result(TIMEOUT_S)
        assert numbers(database) == before == {"a": 1}

    assert numbers(database) == {"a": 1, "b": 2}


def test_each_read_sees_what_is_committed_by_then(harness: Harness, database: Database) -> None:
    other = harness.open()
    with database.reading():
        assert numbers(database) == {}
        with ThreadPoolExecutor(1) as pool:
            pool.submit(put, other, "a", 1).result(TIMEOUT_S)
        assert numbers(database) == {"a": 1}


def test_when_every_connection_is_in_use_one_more_waits_and_is_told_unavailable(
    harness: Harness,
) -> None:
    database = harness.open(connections=2, busy_timeout=1)
    holding, done = threading.Barrier(3), threading.Event()

    def hold() -> None:
        with database.reading():
            holding.wait(TIMEOUT_S)
            assert done.wait(TIMEOUT_S)

    with ThreadPoolExecutor(2) as pool:
        holders = [pool.submit(hold) for _ in range(2)]
        holding.wait(TIMEOUT_S)
        try:
            with pytest.raises(DatabaseUnavailable):
                numbers(database)
            with pytest.raises(DatabaseUnavailable):
                put(database, "a", 1)
        finally:
            done.set()
        for holder in holders:
            holder.result(TIMEOUT_S)

    put(database, "a", 1)
    assert numbers(database) == {"a": 1}


def test_a_connection_that_comes_free_goes_to_who_waits(harness: Harness) -> None:
    database = harness.open(connections=1)
    holding, done = threading.Event(), threading.Event()

    def hold() -> None:
        with database.reading():
            holding.set()
            assert done.wait(TIMEOUT_S)

    with ThreadPoolExecutor(2) as pool:
        holder = pool.submit(hold)
        assert holding.wait(TIMEOUT_S)
        waiting = pool.submit(numbers, database)
        with pytest.raises(TimeoutError):
            waiting.result(0.1)
        done.set()
        assert waiting.result(TIMEOUT_S) == {}
        holder.result(TIMEOUT_S)


def test_connections_are_given_back_by_whoever_failed(harness: Harness) -> None:
    database = harness.open(connections=1)
    for _ in range(5):
        with pytest.raises(ZeroDivisionError):
            database.write(lambda: 1 // 0)
        with pytest.raises(KeyError), database.reading():
            raise KeyError

    assert numbers(database) == {}


@pytest.mark.parametrize(
    "time",
    [
        None,
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2026, 2, 28, 12, 30, 59, 123_456, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(1, 1, 1, tzinfo=UTC),
    ],
)
def test_a_time_comes_back_as_it_went(database: Database, time: datetime | None) -> None:
    put(database, "a", 1, time=time)

    with database.reading():
        assert Note.time.python_value(database.engine.execute(Note.select(Note.time)).fetchone()[0]) == time


def test_times_sort_and_compare_as_they_pass(database: Database) -> None:
    start = datetime(1969, 12, 31, 23, 59, 59, 999_998, tzinfo=UTC)
    for n in (3, 1, 4, 0, 2):
        put(database, f"k{n}", n, time=start + n * timedelta(microseconds=1))

    query = Note.select(Note.number).where(Note.time > start + timedelta(microseconds=1)).order_by(Note.time)
    with database.reading():
        assert list(database.engine.execute(query).fetchall()) == [(2,), (3,), (4,)]


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 127, 128, 129, 500])
def test_many_rows_are_inserted_whatever_their_number(database: Database, rows: int) -> None:
    database.write(lambda: database.insert_many("note (word, number)", [(f"k{n}", n) for n in range(rows)]))

    assert numbers(database) == {f"k{n}": n for n in range(rows)}


def test_a_statement_for_many_rows_tells_how_many_it_touched(database: Database) -> None:
    database.write(lambda: database.insert_many("note (word, number)", [(f"k{n}", n) for n in range(5)]))
    statement, rows = "UPDATE note SET number = ? WHERE word = ?", [(7, "k1"), (8, "k2"), (9, "who")]

    assert database.write(lambda: database.execute_many(statement, rows)) == 2
    assert numbers(database) == {"k0": 0, "k1": 7, "k2": 8, "k3": 3, "k4": 4}


def test_migrations_are_applied_once_and_in_order(harness: Harness) -> None:
    database = harness.open(migrated=False)

    assert database.migrate(MIGRATIONS) == ["0001_note", "0002_time"]
    assert database.migrate(MIGRATIONS) == []


def start(harness: Harness, key: str, times: int) -> "subprocess.Popen[str]":
    command = [sys.executable, adder.__file__, harness.url, key, str(times)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(process: "subprocess.Popen[str]", words: str = "") -> str:
    output, errors = process.communicate(words, timeout=TIMEOUT_S)
    assert process.returncode == 0, errors
    return output


def test_processes_that_migrate_an_empty_database_at_once_apply_each_migration_once(harness: Harness) -> None:
    processes = [start(harness, "", 0) for _ in range(3)]

    applied = sorted(end(process).strip() for process in processes)

    assert applied == ["['0001_note', '0002_time']", "[]", "[]"]


def test_threads_that_open_and_migrate_an_empty_database_at_once_apply_each_migration_once(harness: Harness) -> None:
    together = threading.Barrier(6)

    def migrate(_: int) -> list[str]:
        database = harness.open(migrated=False)
        together.wait(TIMEOUT_S)
        return database.migrate(MIGRATIONS)

    with ThreadPoolExecutor(6) as pool:
        applied = list(pool.map(migrate, range(6)))

    assert sorted(applied) == [[], [], [], [], [], ["0001_note", "0002_time"]]


def test_no_addition_of_two_processes_is_lost(harness: Harness, database: Database) -> None:
    put(database, "a", 0)
    processes = [start(harness, "a", 50) for _ in range(2)]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()  # it is ready

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda process: end(process, "go\n"), processes))

    assert numbers(database) == {"a": 100}
