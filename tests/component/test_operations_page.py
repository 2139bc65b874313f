"""The queries of docs/operations.md run on the tables as they are, and find what they say."""

import re
import sqlite3
from pathlib import Path
from typing import Any, Final

import pytest

from common.database import Database
from inventory_srv import bootstrap as inventory
from order_srv import bootstrap as order

PAGE: Final = Path(__file__).parents[2] / "docs" / "operations.md"
OWED, COMPARE = re.findall(r"^```sql\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)

CASES: Final = [  # the order's state, its sale's, what is to be done
    (None, "SOLD", "Reback"),
    ("CLOSED", "SOLD", "Reback"),
    ("FAILED", "SOLD", "Reback"),
    ("UNPAID", None, "Sell"),
    ("PAID", None, "Sell"),
    ("FINISHED", None, "Sell"),
    ("UNPAID", "RETURNED", "CancelOrder"),
    ("PAID", "RETURNED", "RefundOrder"),
    ("FINISHED", "RETURNED", "AdjustStock"),
    ("CREATING", None, None),
    ("CREATING", "SOLD", None),
    ("UNPAID", "SOLD", None),
    ("FINISHED", "SOLD", None),
    ("CLOSED", "OWED", None),  # the sweeper's to return
    ("CLOSED", "RETURNED", None),
    ("FAILED", None, None),
]


@pytest.fixture
def tables(tmp_path: Path) -> sqlite3.Connection:
    """The order database, with inventory's attached, as the page attaches it."""
    for name, migrations in (("order", order.MIGRATIONS), ("inventory", inventory.MIGRATIONS)):
        database = Database(f"sqlite:///{tmp_path}/{name}.db")
        database.migrate(migrations)
        database.close()
    connection = sqlite3.connect(tmp_path / "order.db")
    connection.execute(f"ATTACH '{tmp_path}/inventory.db' AS inventory")
    return connection


def insert(tables: sqlite3.Connection, schema: str, table: str, row: dict[str, Any]) -> None:
    """Add a row; a column that is not named and must not be NULL is zero."""
    columns = tables.execute('SELECT name FROM pragma_table_info(?, ?) WHERE "notnull"', (table, schema))
    row = dict.fromkeys((name for (name,) in columns), 0) | row
    marks = ", ".join("?" * len(row))
    tables.execute(f"INSERT INTO {schema}.{table} ({', '.join(row)}) VALUES ({marks})", list(row.values()))


def test_the_queries_find_what_does_not_fit_and_nothing_else(tables: sqlite3.Connection) -> None:
    for number, (order_state, sale_state, _) in enumerate(CASES):
        if order_state:
            row = {"order_sn": number, "user_id": number, "state": order_state}
            insert(tables, "main", "orders", row | {"return_due": 1} if sale_state == "OWED" else row)
        if sale_state:
            insert(tables, "inventory", "sale", {"order_sn": number, "state": sale_state.replace("OWED", "SOLD")})

    found = {int(order_sn): todo for order_sn, _, _, todo in tables.execute(COMPARE)}

    assert [(*case[:2], found.get(number)) for number, case in enumerate(CASES)] == CASES


def test_stock_is_owed_when_it_was_asked_for_and_not_confirmed(tables: sqlite3.Connection) -> None:
    closed = {"state": "CLOSED", "return_due": 1, "return_tries": 0}
    insert(tables, "main", "orders", closed | {"order_sn": "new", "user_id": 1})
    insert(tables, "main", "orders", closed | {"order_sn": "owed", "user_id": 2, "return_tries": 3})
    insert(
        tables, "main", "orders", closed | {"order_sn": "settled", "user_id": 3, "return_tries": 3, "return_due": None}
    )

    assert tables.execute(OWED).fetchall() == [("owed", "CLOSED", 3)]
