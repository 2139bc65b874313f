"""What it costs to have a disk keep something: a commit of each database, and a bare fsync."""

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Final

import pymysql

from common.database.mysql.url import MysqlUrl
from scripts.bench.harness.figures import percentile
from scripts.bench.harness.rounds import Rounds
from scripts.bench.harness.testbed import Testbed
from scripts.bench.harness.worlds import CLUSTER

_A_ROUND: Final = 200
_BLOCK: Final = b"x" * 4096
_MS: Final = 1000.0


def commits(testbed: Testbed) -> None:
    """Commit one row at a time, one after the other: a database can't be faster than its disk for a lone caller."""
    kinds: dict[str, Callable[[Testbed], list[float]]] = {"fsync of 4 KB": _fsync, "SQLite": _sqlite}
    if testbed.world.name == CLUSTER:
        kinds["MariaDB"] = _mariadb
    rounds = Rounds(testbed, books=False)
    for number in rounds:
        for name, measure in kinds.items():
            took = sorted(measure(testbed))
            rounds.note(f"{name}, p50", percentile(took, 0.5) * _MS)
            rounds.note(f"{name}, p99", percentile(took, 0.99) * _MS)
            testbed.say(f"  round {number}, {name}: p50 {percentile(took, 0.5) * _MS:.2f} ms")
    for name in kinds:
        rounds.value(f"{name}, p50", "ms")
        rounds.value(f"{name}, p99", "ms")


def _fsync(testbed: Testbed) -> list[float]:
    file = testbed.folder / "fsync.bin"
    descriptor = os.open(file, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    try:
        return _timed(partial(_append, descriptor))
    finally:
        os.close(descriptor)
        file.unlink()


def _append(descriptor: int) -> None:
    os.write(descriptor, _BLOCK)
    os.fsync(descriptor)


def _sqlite(testbed: Testbed) -> list[float]:
    """As the services set it: a write-ahead log, and every commit on the disk before it is answered."""
    file = testbed.folder / "commits.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = wal")
        connection.execute("PRAGMA synchronous = full")
        connection.execute("CREATE TABLE IF NOT EXISTS committed (id INTEGER PRIMARY KEY, name TEXT)")
        return _timed(lambda: connection.execute("INSERT INTO committed (name) VALUES ('a row')"))


def _mariadb(testbed: Testbed) -> list[float]:
    url = MysqlUrl.parse(testbed.database_url("inventory"))
    with pymysql.connect(
        host=url.host,
        port=url.port,
        user=url.user,
        password=url.password.get_secret_value(),
        database=url.name,
        autocommit=True,
    ) as connection:
        cursor = connection.cursor()
        cursor.execute("CREATE TABLE IF NOT EXISTS bench_committed (id BIGINT AUTO_INCREMENT PRIMARY KEY, name TEXT)")
        took = _timed(lambda: cursor.execute("INSERT INTO bench_committed (name) VALUES ('a row')"))
        cursor.execute("DROP TABLE bench_committed")
        return took


def _timed(work: Callable[[], object]) -> list[float]:
    took = []
    for _ in range(_A_ROUND):
        began = time.perf_counter()
        work()
        took.append(time.perf_counter() - began)
    return took
