"""What a server does that a file does not: rows held one by one, deadlocks, guards with numbers of their own."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import peewee
import pytest

from common.database import Database, DatabaseUnavailable
from tests.contract.database.harness import MIGRATIONS, MysqlHarness, Note
from tests.contract.database.notes import add_one, insert, numbers, put
from tests.support.databases import ask
from tests.support.waiting import TIMEOUT_S

KEYS = [f"k{n:02}" for n in range(10)]


@pytest.fixture
def harness(mysql_harness: MysqlHarness) -> MysqlHarness:
    return mysql_harness


@pytest.fixture
def database(harness: MysqlHarness) -> Database:
    return harness.open()


def signal(database: Database, number: int) -> Any:
    """Let the engine itself raise the error of a number."""
    return database.engine.execute_sql(f"SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO = {number}, MESSAGE_TEXT = 'as told'")


def test_pitfall_02_what_is_read_second_is_not_older_than_when_it_is_read(
    harness: MysqlHarness, database: Database
) -> None:
    other = harness.open()
    put(database, "first", 1)
    put(database, "second", 1)

    def plain(key: str) -> int:
        (number,) = database.engine.execute(Note.select(Note.number).where(Note.key == key)).fetchone()
        return int(number)

    def work() -> tuple[int, int]:
        plain("first")
        with ThreadPoolExecutor(1) as pool:
            pool.submit(other.write, lambda: add_one(other, "second")).result(TIMEOUT_S)
        return plain("second"), add_one(database, "second")

    assert database.write(work) == (2, 3)
    assert numbers(database) == {"first": 1, "second": 3}


def test_writers_of_different_rows_do_not_wait_for_each_other(harness: MysqlHarness, database: Database) -> None:
    other = harness.open()
    put(database, "a", 0)
    put(database, "b", 0)

    def work() -> None:
        add_one(database, "a")
        with ThreadPoolExecutor(1) as pool:
            pool.submit(other.write, lambda: add_one(other, "b")).result(TIMEOUT_S)
            pool.submit(put, other, "aa", 0).result(TIMEOUT_S)  # nor does who writes between them

    database.write(work)
    assert numbers(database) == {"a": 1, "aa": 0, "b": 1}


def test_a_deadlock_is_repeated_whole(harness: MysqlHarness) -> None:
    databases = [harness.open(), harness.open()]
    both_hold = threading.Barrier(2)
    tries: list[int] = []
    for key in ("a", "b"):
        put(databases[0], key, 0)

    def both(turn: int) -> None:
        database, first, second = databases[turn], *(("a", "b") if turn else ("b", "a"))
        mine: list[int] = []

        def work() -> None:
            mine.append(1)
            tries.append(1)
            add_one(database, first)
            if len(mine) == 1:
                both_hold.wait(TIMEOUT_S)
            add_one(database, second)

        database.write(work)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(both, range(2)))

    assert len(tries) == 3
    assert numbers(databases[0]) == {"a": 2, "b": 2}


def test_pitfall_03_a_storm_of_reversed_lists_ends_with_every_addition(harness: MysqlHarness) -> None:
    # Sixteen who meet all the time: on a busy machine the unluckiest takes longer than the default of 15 s.
    databases = [harness.open(timeout=120), harness.open(timeout=120)]
    databases[0].write(lambda: databases[0].insert_many("note (word, number)", [(key, 0) for key in KEYS]))
    started = threading.Barrier(16)

    def storm(turn: int) -> None:
        database, keys = databases[turn % 2], KEYS if turn < 8 else KEYS[::-1]
        started.wait(TIMEOUT_S)
        for _ in range(10):
            database.write(lambda: [add_one(database, key) for key in keys])

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(storm, range(16)))

    assert numbers(databases[0]) == dict.fromkeys(KEYS, 160)


def test_a_broken_guard_of_a_table_is_an_integrity_error_and_rolls_everything_back(database: Database) -> None:
    with database.reading():
        database.engine.execute_sql("ALTER TABLE note ADD CHECK (number >= 0)")

    def work() -> None:
        insert(database, "a", 1)
        insert(database, "b", -1)

    with pytest.raises(peewee.IntegrityError, match="CONSTRAINT"):
        database.write(work)

    assert numbers(database) == {}


@pytest.mark.parametrize("number", [1205, 1213, 1020, 1053, 1317, 1927, 2006, 2013])
def test_work_is_repeated_for_what_others_did_to_it(database: Database, number: int) -> None:
    tries: list[int] = []

    def work() -> None:
        tries.append(1)
        insert(database, f"try {len(tries)}", 1)
        if len(tries) < 3:
            signal(database, number)

    database.write(work)

    assert numbers(database) == {"try 3": 1}


@pytest.mark.parametrize("number", [1021, 1030, 1040, 1114, 1290, 1836, 3024])
def test_what_keeps_the_server_from_serving_is_told_as_unavailable_at_once(database: Database, number: int) -> None:
    tries: list[int] = []

    def work() -> None:
        tries.append(1)
        insert(database, "a", 1)
        signal(database, number)

    with pytest.raises(DatabaseUnavailable):
        database.write(work)

    assert len(tries) == 1
    assert numbers(database) == {}


@pytest.mark.parametrize(
    ("statement", "error"),
    [
        ("SELECT nothing FROM note", peewee.OperationalError),
        ("SELECT * FROM nowhere", peewee.ProgrammingError),
        ("SELEKT", peewee.ProgrammingError),
        ("INSERT INTO note (word, number) VALUES (REPEAT('x', 65), 1)", peewee.DataError),
        ("INSERT INTO note (word, number) VALUES ('a', 'x')", peewee.DatabaseError),
        ("INSERT INTO note (word) VALUES ('a')", peewee.DatabaseError),
    ],
)
def test_a_bug_is_a_bug_and_not_an_engine_that_is_down(
    database: Database, statement: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        database.write(lambda: database.execute(statement))
    with pytest.raises(error), database.reading():
        database.execute(statement)

    assert numbers(database) == {}


def test_tables_keep_every_character_and_compare_each(harness: MysqlHarness, database: Database) -> None:
    collations = {row[0] for row in ask(harness.url, "SELECT @@collation_database")}
    collations |= {
        row[0]
        for row in ask(
            harness.url,
            "SELECT collation_name FROM information_schema.columns"
            " WHERE table_schema = DATABASE() AND table_name = 'note' AND collation_name IS NOT NULL",
        )
    }
    assert collations <= {"utf8mb4_nopad_bin", "utf8mb4_0900_bin"}


HALF_WAY = """
import peewee

def up(migrator, db):
    class Left(peewee.Model):
        key = peewee.CharField(64, primary_key=True)
        number = peewee.IntegerField()
        class Meta:
            table_name = "left_behind"
            indexes = ((("number",), False),)
    with db.bind_ctx([Left]):
        db.create_tables([Left], safe=False)
    migrator.migrate(migrator.add_column("left_behind", "more", peewee.IntegerField(null=True)))
    die()
    migrator.migrate(migrator.add_column("left_behind", "most", peewee.IntegerField(null=True)))

def die():
    with open({flag!r}, "a+") as flag:
        flag.seek(0)
        if not flag.read():
            flag.write("died")
            raise KeyboardInterrupt
"""


def test_a_migration_that_was_interrupted_is_finished_by_the_next_who_comes(
    harness: MysqlHarness, tmp_path: Path
) -> None:
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "0001_half_way.py").write_text(HALF_WAY.replace("{flag!r}", repr(str(tmp_path / "flag"))))
    with pytest.raises(KeyboardInterrupt):
        harness.open(migrated=False).migrate(folder)

    database = harness.open(migrated=False)
    assert database.migrate(folder) == ["0001_half_way"]
    assert database.migrate(folder) == []

    columns = ask(harness.url, "SELECT column_name FROM information_schema.columns WHERE table_name = 'left_behind'")
    assert {column for (column,) in columns} == {"key", "number", "more", "most"}
    indexes = ask(harness.url, "SHOW INDEX FROM left_behind")
    assert {row[4] for row in indexes} == {"key", "number"}


def test_a_table_that_was_there_before_the_first_migration_is_not_taken_for_its_own(
    harness: MysqlHarness,
) -> None:
    ask(harness.url, "CREATE TABLE note (somebody INTEGER)")

    with pytest.raises(peewee.OperationalError, match="already exists"):
        harness.open(migrated=False).migrate(MIGRATIONS)


def test_the_time_is_the_servers(harness: MysqlHarness, database: Database) -> None:
    answer = database.time()
    ((servers,),) = ask(harness.url, "SELECT TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))")

    assert answer.utcoffset() is not None
    assert abs(answer.timestamp() * 1e6 - servers) < TIMEOUT_S * 1e6


def test_the_clock_follows_the_server_from_the_migration_on(harness: MysqlHarness) -> None:
    database = harness.open(migrated=False)
    clock = database.clock()
    assert database.clock() is clock

    database.migrate(MIGRATIONS)
    before = database.time()
    answer = clock.now()
    after = database.time()

    half_a_way = (after - before) / 2
    assert before - half_a_way <= answer <= after + half_a_way
