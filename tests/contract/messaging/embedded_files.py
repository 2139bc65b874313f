"""For the tests of the embedded broker alone: looking into its file, past the broker."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from common.messaging.embedded.broker import EmbeddedBroker

Open = Callable[..., EmbeddedBroker]
"""`open_broker(clock, lease=3, recheck="on")`: a broker on the test's file; it is closed at the end."""


def rows(file: Path, query: str, *values: object) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(file, isolation_level=None, timeout=10)) as connection:
        return connection.execute(query, values).fetchall()
