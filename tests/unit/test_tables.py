"""The reader of both services' tables finds what is wrong in them."""

from pathlib import Path

import pytest

import inventory_srv.bootstrap
import order_srv.bootstrap
from common.database import Database
from tests.support.databases import url_of
from tests.support.tables import (
    Standing,
    let_orders_be_due,
    problems_in_tables,
    rows,
    sale_states,
    standings,
    states,
    unsettled,
)

ORDER = """
    INSERT INTO orders (
        order_sn, user_id, request_hash, state, total_cents, currency, recipient_name, recipient_mobile,
        recipient_address, note, expire_time, close_reason, failure_reason, return_tries, add_time, update_time
    ) VALUES ('o1', 1, '', 'UNPAID', 1, 'EUR', '', '', '', '', 9, '', '', 0, 1, 1)
"""
MIGRATIONS = {"inventory": inventory_srv.bootstrap.MIGRATIONS, "order": order_srv.bootstrap.MIGRATIONS}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Tables with one order of two units of five, whose sale is SOLD."""
    for name, migrations in MIGRATIONS.items():
        database = Database(url_of(tmp_path, name))
        database.migrate(migrations)
        database.close()
    rows(tmp_path, "inventory", "INSERT INTO stock VALUES ('tea', 3, 2, 1, 1, 1)")
    rows(tmp_path, "inventory", "INSERT INTO sale VALUES ('o1', 'SOLD', NULL, '', 1, 1)")
    rows(tmp_path, "inventory", "INSERT INTO sale_line VALUES ('o1', 'tea', 2)")
    move(tmp_path, "SET", 5, 5)
    move(tmp_path, "SELL", -2, 3)
    rows(tmp_path, "order", ORDER)
    rows(tmp_path, "order", "INSERT INTO order_line VALUES ('o1', 'tea', '', 1, 2)")
    return tmp_path


def move(folder: Path, kind: str, delta: int, left: int) -> None:
    columns = "(sku, kind, delta, available_after, reason, add_time)"
    rows(folder, "inventory", f"INSERT INTO movement {columns} VALUES ('tea', ?, ?, ?, '', 1)", kind, delta, left)


def test_good_tables_have_no_problem(folder: Path) -> None:
    assert problems_in_tables(folder) == []
    assert states(folder) == ["UNPAID"]
    assert standings(folder, ["o1", "o2"]) == {"o1": Standing("UNPAID", owes=False, close_cause="")}
    assert sale_states(folder) == {"o1": "SOLD"}
    assert unsettled(folder) == []


def test_a_folder_without_tables_has_no_problem(tmp_path: Path) -> None:
    assert problems_in_tables(tmp_path) == []


@pytest.mark.parametrize(
    ("database", "spoil", "problem"),
    [
        ("inventory", "UPDATE stock SET available = 4", "tea: 5 set and adjusted, but 4 available + 2 sold"),
        ("inventory", "UPDATE stock SET available = 4, sold = 1", "tea: its movements leave 3, but 4 are available"),
        ("inventory", "UPDATE sale SET state = 'RETURNED'", "tea: its sales hold 0, but 2 are sold"),
        ("inventory", "UPDATE sale SET state = 'RETURNED'", "o1 is UNPAID, but its sale is RETURNED"),
        ("inventory", "DELETE FROM sale", "o1 is UNPAID, but its sale is None"),
        ("inventory", "UPDATE sale_line SET quantity = 1", "o1 has other lines than its sale"),
        ("inventory", "UPDATE movement SET available_after = -1 WHERE id = 2", "tea: movement 2 left -1"),
        ("order", "UPDATE orders SET state = 'CLOSED'", "o1 is CLOSED and owes nothing, but its sale is SOLD"),
    ],
)
def test_what_is_wrong_is_told(folder: Path, database: str, spoil: str, problem: str) -> None:
    rows(folder, database, spoil)
    assert problem in problems_in_tables(folder)


def test_an_order_that_owes_its_stock_may_have_a_sold_sale(folder: Path) -> None:
    rows(folder, "order", "UPDATE orders SET state = 'CLOSED', return_due = 1")
    assert problems_in_tables(folder) == []
    assert [order_sn for order_sn, *_ in unsettled(folder)] == ["o1"]


def test_orders_can_be_made_due(folder: Path) -> None:
    let_orders_be_due(folder)
    assert rows(folder, "order", "SELECT expire_time FROM orders") == [(1,)]
