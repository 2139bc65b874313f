"""Everything that both services keep, to see that nothing changed."""

import sqlite3
from contextlib import closing
from typing import Any

from tests.services import PATIENCE, Services

Rows = dict[str, list[Any]]


def contents(services: Services, *, without: tuple[str, ...] = ()) -> Rows:
    """Every row of every table of both databases, but for the tables that are left out."""
    return {
        f"{name}.{table}": rows
        for name in ("order", "inventory")
        for table, rows in _tables(f"{services.folder}/{name}.db").items()
        if table not in without
    }


def _tables(file: str) -> Rows:
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=PATIENCE)) as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {table: database.execute(f"SELECT * FROM {table}").fetchall() for table in tables}
