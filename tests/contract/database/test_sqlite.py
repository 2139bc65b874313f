"""What only the engine of one file can be tested for."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from common.database import Database, DatabaseUnavailable
from tests.contract.database.harness import SqliteHarness
from tests.contract.database.notes import insert, numbers, put


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    harness = SqliteHarness(tmp_path)
    yield harness.open()
    harness.end()


@contextmanager
def full_disk(database: Database) -> Iterator[None]:
    """The disk has no room for one more page."""
    with database.reading():  # the limit is the connection's; the thread's writes use the same one
        limit_pages(database, 1)
        try:
            yield
        finally:
            limit_pages(database, 1_000_000)


def limit_pages(database: Database, pages: int) -> None:
    # SQLite makes it the present size where that is more.
    database.engine.execute_sql(f"PRAGMA max_page_count = {pages}")


def test_on_a_full_disk_nothing_is_written_and_all_is_well_when_there_is_room(database: Database) -> None:
    put(database, "a", 1)

    def much() -> None:
        for n in range(500):
            insert(database, f"{n:04}" + "x" * 60, n)

    with pytest.raises(DatabaseUnavailable), full_disk(database):
        database.write(much)

    assert numbers(database) == {"a": 1}
    database.write(much)
    assert len(numbers(database)) == 501
