"""Opens the embedded broker's file, and creates its tables."""

import sqlite3
from pathlib import Path

_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE sessions (last INTEGER NOT NULL);
INSERT INTO sessions VALUES (0);
CREATE TABLE queues (
    id INTEGER PRIMARY KEY,
    topic TEXT NOT NULL,
    consumers TEXT NOT NULL,          -- the group, or a name of `store`
    delivers INTEGER NOT NULL,        -- 1: gets published messages
    UNIQUE (topic, consumers)
);
CREATE TABLE entries (
    id INTEGER NOT NULL,              -- the message's id: session and number, never used twice
    queue INTEGER NOT NULL,
    key TEXT NOT NULL,
    body BLOB NOT NULL,
    due INTEGER NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,
    leased_until INTEGER NOT NULL DEFAULT 0,  -- 0: not leased
    token INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (id, queue)
) WITHOUT ROWID;
CREATE INDEX entries_by_due ON entries (queue, due);
CREATE TABLE dead_letters (
    id INTEGER PRIMARY KEY AUTOINCREMENT,     -- an id is never used again, even after a replay
    message_id INTEGER NOT NULL,
    queue INTEGER NOT NULL,
    key TEXT NOT NULL,
    body BLOB NOT NULL,
    attempts INTEGER NOT NULL,
    error TEXT NOT NULL,
    dead_time INTEGER NOT NULL
);
CREATE INDEX dead_letters_by_queue ON dead_letters (queue, id);
"""


def connect(path: Path, busy_timeout: float = 0) -> sqlite3.Connection:
    """Open the file; create it and its folder if needed.

    Args:
        path: The file.
        busy_timeout: How many seconds SQLite waits for a locked file. It waits unfairly: its pauses soon reach 25 ms,
            and the luckier process always wins.

    Raises:
        sqlite3.OperationalError: The file can't be opened, or is locked.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise sqlite3.OperationalError(str(error)) from error
    connection = sqlite3.connect(path, timeout=busy_timeout, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA journal_size_limit = {64 << 20}")
    except BaseException:
        connection.close()
        raise
    return connection


def begin_session(connection: sqlite3.Connection) -> int:
    """Create missing tables, and return the number of a new session, which is never used again.

    Raises:
        sqlite3.DatabaseError: The file is locked, can't be written, or is of another version.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        _make_tables(connection)
        connection.execute("UPDATE sessions SET last = last + 1")
        (session,) = connection.execute("SELECT last FROM sessions").fetchone()
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return int(session)


def _make_tables(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        for statement in _SCHEMA.split(";\n"):
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
    elif version != _SCHEMA_VERSION:
        raise sqlite3.DatabaseError(f"its tables have version {version}, not {_SCHEMA_VERSION}")
