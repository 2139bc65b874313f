"""A server that is killed and comes back: calls fail clearly while it is gone, and succeed soon after."""

import time
from collections.abc import Iterator

import pytest

from common.database import Database, DatabaseUnavailable
from tests.contract.database.harness import MysqlHarness
from tests.contract.database.notes import add_one, insert, numbers, put
from tests.support.mariadb_server import MariadbServer, mariadb_server

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def server() -> Iterator[MariadbServer]:
    with mariadb_server() as started:
        yield started


@pytest.fixture
def harness(server: MariadbServer) -> Iterator[MysqlHarness]:
    made = MysqlHarness(server.url)
    yield made
    made.end()


@pytest.fixture
def database(harness: MysqlHarness) -> Database:
    return harness.open()


def wait_until_it_writes(database: Database, key: str) -> float:
    """Write as soon as it is possible; the seconds it took."""
    began = time.monotonic()
    while True:
        try:
            database.write(lambda: add_one(database, key))
        except DatabaseUnavailable:
            assert time.monotonic() - began < 30, "never again"
            time.sleep(0.05)
        else:
            return time.monotonic() - began


def test_while_the_server_is_gone_everybody_is_told_at_once_and_soon_after_its_return_all_is_well(
    server: MariadbServer, database: Database
) -> None:
    put(database, "a", 0)
    server.kill()
    try:
        for _ in range(5):
            began = time.monotonic()
            with pytest.raises(DatabaseUnavailable):
                database.write(lambda: add_one(database, "a"))
            with pytest.raises(DatabaseUnavailable):
                numbers(database)
            assert time.monotonic() - began < 2
    finally:
        server.start()

    assert wait_until_it_writes(database, "a") < 5
    assert numbers(database) == {"a": 1}


def test_a_restart_that_nobody_used_the_database_in_is_noticed_by_nobody(
    server: MariadbServer, database: Database
) -> None:
    put(database, "a", 0)
    server.kill()
    server.start()

    assert database.write(lambda: add_one(database, "a")) == 1
    server.kill()
    server.start()
    assert numbers(database) == {"a": 1}


def test_a_server_that_dies_in_the_middle_of_a_transaction_has_nothing_of_it(
    server: MariadbServer, database: Database
) -> None:
    put(database, "a", 0)

    def work() -> None:
        insert(database, "b", 1)
        server.kill()
        insert(database, "c", 1)

    try:
        with pytest.raises(DatabaseUnavailable):
            database.write(work)
    finally:
        server.kill()
        server.start()

    wait_until_it_writes(database, "a")
    assert numbers(database) == {"a": 1}


def test_what_was_told_to_be_written_is_there_after_kill_9(server: MariadbServer, database: Database) -> None:
    for n in range(20):
        put(database, f"k{n}", n)
    server.kill()
    server.start()

    assert numbers(database) == {f"k{n}": n for n in range(20)}
