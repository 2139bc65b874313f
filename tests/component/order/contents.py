"""Everything that both services keep, to see that nothing changed."""

from typing import Any

from common.database import Database
from tests.support.databases import url_of
from tests.support.services import Services

Rows = dict[str, list[Any]]


def contents(services: Services, *, without: tuple[str, ...] = ()) -> Rows:
    """Every row of every table of both databases, but for the tables that are left out."""
    return {
        f"{name}.{table}": rows
        for name in ("order", "inventory")
        for table, rows in _tables(Database(url_of(services.folder, name))).items()
        if table not in without
    }


def _tables(database: Database) -> Rows:
    with database.reading():
        tables = database.engine.get_tables()
        rows = {table: list(database.execute(f"SELECT * FROM {table}").fetchall()) for table in tables}
    database.close()
    return rows
