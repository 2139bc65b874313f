"""Each test's own databases: files in its folder, or databases on the server that `TEST_MYSQL_URL` names.

A fixture says `with databases_on(engine, folder)`; `url_of(folder, name)` then names a database on that engine, in
every process.
"""

import re
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

import pymysql

from common.database.mysql.url import MysqlUrl
from common.driver_url import file_url
from tests.support.engines import MYSQL_URL

ENGINES: Final = ["sqlite", "mysql"] if MYSQL_URL else ["sqlite"]
"""What a suite for every engine is parametrized with."""

_PREFIX: Final = "databases-on-server"  # the file in a folder that holds what their names begin with

Connection = Any


def connect(url: str, **settings: Any) -> Connection:
    """A plain connection to a database, or to the server; each statement commits at once."""
    parts = urlsplit(url)
    place = MysqlUrl.parse(url if parts.path.strip("/") else f"{url.rstrip('/')}/mysql")
    return pymysql.connect(
        host=place.host,
        port=place.port,
        user=place.user,
        password=place.password.get_secret_value(),
        database=parts.path.strip("/") or None,
        autocommit=True,
        ssl_disabled=True,
        **settings,
    )


def ask(url: str, statement: str, *values: Any) -> tuple[tuple[Any, ...], ...]:
    """The rows that a statement gives on a connection of its own."""
    with closing(connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(statement, values or None)
        rows: tuple[tuple[Any, ...], ...] = cursor.fetchall()
        return rows


def kill(url: str, connection: int) -> None:
    """Let the server close a connection, and wait until it has."""
    ask(url, f"KILL {connection}")
    give_up = time.monotonic() + 30
    while ask(url, "SELECT 1 FROM information_schema.processlist WHERE id = %s", connection):
        assert time.monotonic() < give_up
        time.sleep(0.01)


def is_waiting_for_rows(url: str) -> bool:
    """Whether a transaction in this database waits for rows that another holds.

    It is read from InnoDB's monitor: `information_schema.innodb_trx` stays the same while it is read more often than
    every 100 ms, by any connection.
    """
    ((_, _, monitor),) = ask(url, "SHOW ENGINE INNODB STATUS")
    waiting = {
        int(thread)
        for transaction in monitor.split("---TRANSACTION ")[1:]
        if "LOCK WAIT" in transaction
        for thread in re.findall(r"thread id (\d+)", transaction)[:1]
    }
    ours = {thread for (thread,) in ask(url, "SELECT id FROM information_schema.processlist WHERE db = DATABASE()")}
    return bool(waiting & ours)


@contextmanager
def own_database(server_url: str = MYSQL_URL) -> Iterator[str]:
    """The URL of an empty database, which is dropped in the end."""
    name = f"test_{uuid4().hex}"
    ask(server_url, f"CREATE DATABASE {name}")
    try:
        yield f"{server_url.rstrip('/')}/{name}"
    finally:
        ask(server_url, f"DROP DATABASE {name}")


@contextmanager
def databases_on(engine: str, folder: Path) -> Iterator[None]:
    """The databases of `folder` are on this engine; those on the server are dropped in the end."""
    if engine == "sqlite":
        yield
        return
    prefix = f"test_{uuid4().hex}"
    (folder / _PREFIX).write_text(prefix)
    try:
        yield
    finally:
        for (name,) in ask(MYSQL_URL, f"SHOW DATABASES LIKE '{prefix}%'"):
            ask(MYSQL_URL, f"DROP DATABASE `{name}`")


def url_of(folder: Path, name: str) -> str:
    """Where the database `name` of a folder is: a file there, unless the folder's databases are on the server."""
    prefix = folder / _PREFIX
    if not prefix.exists():
        return file_url("sqlite", folder / f"{name}.db")
    on_server = f"{prefix.read_text()}_{name}"
    ask(MYSQL_URL, f"CREATE DATABASE IF NOT EXISTS {on_server}")
    return f"{MYSQL_URL.rstrip('/')}/{on_server}"
