"""Migrations on a server: one replica at a time, resumable, into tables that compare text as the contract says.

On these servers every statement that makes a table commits at once. So a migration is noted as begun before it runs; if
its process is killed, the next one skips what exists already.
"""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from common.database.errors import DatabaseUnavailable
from common.database.mysql.pool import MysqlPool, wait_for_answers

_TIMEOUT_S: Final = 120
_ONE_WAIT_S: Final = 5
_LONGEST_STATEMENT_S: Final = 3600  # altering a large table takes its time

# Character by character, and spaces at the end count: `utf8mb4_bin` would take 'tea ' for 'tea'.
_COLLATIONS: Final = ("utf8mb4_nopad_bin", "utf8mb4_0900_bin")  # MariaDB's, MySQL's

_BEGUN: Final = "CREATE TABLE IF NOT EXISTS schema_migration_begun (name VARCHAR(255) NOT NULL PRIMARY KEY)"


@contextmanager
def migrating(engine: MysqlPool, name: str) -> Iterator[None]:
    """Hold the right to migrate the database `name`.

    Raises:
        DatabaseUnavailable: Another replica has been migrating it for too long.
    """
    lock = f"reback.migrate.{hashlib.sha256(name.encode()).hexdigest()[:32]}"  # a lock is the whole server's
    connection = engine.connection()  # type: ignore[no-untyped-call]
    wait_for_answers(connection, _LONGEST_STATEMENT_S)
    _acquire(engine, lock)
    try:
        _choose_collation(engine, name)
        yield
    finally:
        if connection.open:
            engine.execute_sql("DO RELEASE_LOCK(%s)", (lock,))
            wait_for_answers(connection, engine.read_timeout)


@contextmanager
def resumable(engine: MysqlPool, migration: str) -> Iterator[None]:
    """Apply one migration; skip what an interrupted attempt has made already."""
    engine.execute_sql(_BEGUN)
    noted = engine.execute_sql("INSERT IGNORE INTO schema_migration_begun (name) VALUES (%s)", (migration,)).rowcount
    engine.resuming = not noted
    try:
        yield
    finally:
        engine.resuming = False
    engine.execute_sql("DELETE FROM schema_migration_begun WHERE name = %s", (migration,))


def _acquire(engine: MysqlPool, lock: str) -> None:
    give_up = time.monotonic() + _TIMEOUT_S
    while engine.execute_sql("SELECT GET_LOCK(%s, %s)", (lock, _ONE_WAIT_S)).fetchone()[0] != 1:
        if time.monotonic() > give_up:
            raise DatabaseUnavailable("another process has been migrating the database for too long")


def _choose_collation(engine: MysqlPool, name: str) -> None:
    """Make new tables compare text so."""
    has = engine.execute_sql(
        "SELECT default_collation_name FROM information_schema.schemata WHERE schema_name = %s", (name,)
    ).fetchone()[0]
    if has in _COLLATIONS:
        return
    there = {
        collation
        for (collation,) in engine.execute_sql(
            "SELECT collation_name FROM information_schema.collations WHERE collation_name IN (%s, %s)", _COLLATIONS
        )
    }
    best = next(collation for collation in _COLLATIONS if collation in there)
    engine.execute_sql(f"ALTER DATABASE `{name.replace('`', '``')}` CHARACTER SET utf8mb4 COLLATE {best}")
