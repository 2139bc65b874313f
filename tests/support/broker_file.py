"""The embedded broker's file, read and harmed from outside."""

import sqlite3
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

from common.database import to_micros
from tests.support.waiting import TIMEOUT_S
from tests.support.worlds import world_of


def half_messages(folder: Path) -> int:
    """How many half messages wait for their resolution."""
    query = "SELECT count(*) FROM entries JOIN queues ON queues.id = queue WHERE consumers = '%check-back'"
    return int(_in_broker(folder, query)[0][0])


def messages(folder: Path, topic: str, due_until: datetime) -> int:
    """How many messages of a topic are due and not handled, half messages left out."""
    query = (
        "SELECT count(*) FROM entries JOIN queues ON queues.id = queue WHERE topic = ? AND delivers = 1 AND due <= ?"
    )
    return int(_in_broker(folder, query, world_of(folder).prefix + topic, to_micros(due_until))[0][0])


def lose_messages(folder: Path, topic: str) -> None:
    """Take every message of a topic out of the broker's file."""
    with closing(sqlite3.connect(folder / "broker.db", timeout=TIMEOUT_S)) as broker, broker:
        of_topic = "DELETE FROM entries WHERE queue IN (SELECT id FROM queues WHERE topic = ?)"
        broker.execute(of_topic, (world_of(folder).prefix + topic,))


def lose_broker(folder: Path) -> None:
    """Delete the broker's file, which no process may have open."""
    for file in folder.glob("broker.db*"):
        file.unlink()


def _in_broker(folder: Path, query: str, *values: object) -> list[Any]:
    file = f"file:{folder}/broker.db?mode=ro"
    with closing(sqlite3.connect(file, uri=True, timeout=TIMEOUT_S)) as broker:
        return broker.execute(query, values).fetchall()


class BrokerLock:
    """Blocks all writes to the broker's file, or refuses what is published to one topic."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / "broker.db"
        self._connection: sqlite3.Connection | None = None
        self._refuses = False

    def lock(self) -> None:
        self._connection = sqlite3.connect(self._file, timeout=TIMEOUT_S, isolation_level=None, check_same_thread=False)
        self._connection.execute("BEGIN IMMEDIATE")

    def refuse(self, topic: str) -> None:
        """Make each publish to a topic fail at once, as a bad disk does."""
        self._refuses = True
        full_topic = world_of(self._folder).prefix + topic
        with closing(sqlite3.connect(self._file, timeout=TIMEOUT_S)) as broker:
            broker.execute(
                "CREATE TRIGGER refuse BEFORE INSERT ON entries"  # the smallest number has no abs(): an engine's error
                f" WHEN NEW.queue IN (SELECT id FROM queues WHERE topic = '{full_topic}')"
                " BEGIN SELECT abs(-9223372036854775807 - 1); END"
            )

    def release(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._refuses:
            self._refuses = False
            with closing(sqlite3.connect(self._file, timeout=TIMEOUT_S)) as broker:
                broker.execute("DROP TRIGGER refuse")
