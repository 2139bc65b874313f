"""The tables of both services, read from outside by SQL, on whatever engine the folder's databases are."""

import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from tests.support.databases import ask, url_of

_TIMEOUT_S: Final = 30.0

_LIVE: Final = frozenset({"UNPAID", "PAID", "FINISHED"})
_DEAD: Final = frozenset({"CLOSED", "FAILED"})

Rows = list[tuple[Any, ...]]
Lines = dict[str, dict[str, int]]  # quantities by order_sn and sku

_FILE: Final = "tables"  # in a folder whose databases were made elsewhere: what their URLs begin with


def tables_at(folder: Path, server_url: str) -> None:
    """Let the databases of a folder be `inventory` and `order` on this server, where they exist already."""
    (folder / _FILE).write_text(server_url)


@cache
def _url_of(folder: Path, database: str) -> str:
    elsewhere = folder / _FILE
    if elsewhere.exists():
        return f"{elsewhere.read_text()}/{database}"
    return url_of(folder, database)  # which makes it, on a server


def rows(folder: Path, database: str, statement: str, *values: object) -> Rows:
    """What a statement gives on the database `inventory` or `order` of a folder, `?` for each value; it commits."""
    url = _url_of(folder, database)
    if not url.startswith("sqlite:"):
        return list(ask(url, statement.replace("?", "%s"), *values))
    with closing(sqlite3.connect(folder / f"{database}.db", timeout=_TIMEOUT_S)) as connection, connection:
        return connection.execute(statement, values).fetchall()


def unsettled(folder: Path) -> Rows:
    """Orders that are CREATING or owe their stock."""
    query = "SELECT order_sn, state, return_due FROM orders WHERE state = 'CREATING' OR return_due IS NOT NULL"
    return rows(folder, "order", query)


@dataclass(frozen=True)
class Standing:
    """What is committed of an order.

    Attributes:
        owes: Whether its stock was not yet seen to be back.
        close_cause: Empty unless it is CLOSED.
    """

    state: str
    owes: bool
    close_cause: str

    @property
    def dead(self) -> bool:
        return self.state in _DEAD


def standings(folder: Path, order_sns: Sequence[str]) -> dict[str, Standing]:
    """Where these orders stand, without those that do not exist."""
    marks = ", ".join("?" * len(order_sns))
    query = f"SELECT order_sn, state, return_due, close_cause FROM orders WHERE order_sn IN ({marks})"
    found = rows(folder, "order", query, *order_sns)
    return {order_sn: Standing(state, due is not None, cause or "") for order_sn, state, due, cause in found}


def states(folder: Path) -> list[str]:
    """The states of all orders, oldest first."""
    return [state for (state,) in rows(folder, "order", "SELECT state FROM orders ORDER BY order_sn")]


def sale_states(folder: Path) -> dict[str, str]:
    """The state of each sale that is committed, by order_sn."""
    return dict(rows(folder, "inventory", "SELECT order_sn, state FROM sale"))


def let_orders_be_due(folder: Path, *order_sns: str) -> None:
    """Let the time to pay be over for these orders, or all, though no message of the broker says so yet."""
    these = f" WHERE order_sn IN ({', '.join('?' * len(order_sns))})" if order_sns else ""
    rows(folder, "order", f"UPDATE orders SET expire_time = add_time{these}", *order_sns)


# The books, as they have to be at any moment: whether services run or died in the middle of something


def problems_in_tables(folder: Path) -> list[str]:
    """Everything that is wrong, a line each. Services that never ran in this folder have no books."""
    if not _has_table(folder, "inventory", "stock"):
        return []
    problems = list(_stock_problems(folder))
    if _has_table(folder, "order", "orders"):
        problems += _sale_problems(folder)
    return problems


def _stock_problems(folder: Path) -> Iterator[str]:
    moved = {sku: (int(gave), int(left)) for sku, gave, left in rows(folder, "inventory", _MOVED)}
    held = {sku: int(units) for sku, units in rows(folder, "inventory", _HELD)}
    for sku, available, sold in rows(folder, "inventory", "SELECT sku, available, sold FROM stock"):
        gave, left = moved.get(sku, (0, 0))
        if min(available, sold) < 0:
            yield f"{sku}: below zero, {available} available and {sold} sold"
        if gave != available + sold:
            yield f"{sku}: {gave} set and adjusted, but {available} available + {sold} sold"
        if left != available:
            yield f"{sku}: its movements leave {left}, but {available} are available"
        if held.get(sku, 0) != sold:
            yield f"{sku}: its sales hold {held.get(sku, 0)}, but {sold} are sold"
    for sku, number, left in rows(folder, "inventory", _BELOW_ZERO):
        yield f"{sku}: movement {number} left {left}"


_MOVED: Final = """
    SELECT sku, SUM(CASE WHEN kind IN ('SET', 'ADJUST') THEN delta ELSE 0 END), SUM(delta) FROM movement GROUP BY sku
"""
_HELD: Final = """
    SELECT sku, SUM(quantity) FROM sale_line JOIN sale ON sale.order_sn = sale_line.order_sn
    WHERE sale.state = 'SOLD' GROUP BY sku
"""
_BELOW_ZERO: Final = "SELECT sku, id, available_after FROM movement WHERE available_after < 0"


def _sale_problems(folder: Path) -> Iterator[str]:
    orders = rows(folder, "order", "SELECT order_sn, state, return_due FROM orders")
    sales = sale_states(folder)  # after the orders: a sale is there before its order lives
    ordered, sold = _lines(folder, "order", "order_line"), _lines(folder, "inventory", "sale_line")
    for order_sn, state, return_due in orders:
        sale = sales.get(order_sn)
        if state in _LIVE and sale != "SOLD":
            yield f"{order_sn} is {state}, but its sale is {sale}"
        if state in _LIVE and ordered[order_sn] != sold[order_sn]:
            yield f"{order_sn} has other lines than its sale"
        if state in _DEAD and return_due is None and sale == "SOLD":
            yield f"{order_sn} is {state} and owes nothing, but its sale is SOLD"


def _lines(folder: Path, database: str, table: str) -> Lines:
    lines: Lines = defaultdict(dict)
    for order_sn, sku, quantity in rows(folder, database, f"SELECT order_sn, sku, quantity FROM {table}"):
        lines[order_sn][sku] = quantity
    return lines


def _has_table(folder: Path, database: str, table: str) -> bool:
    if not _url_of(folder, database).startswith("sqlite:"):
        query = "SELECT 1 FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?"
        return bool(rows(folder, database, query, table))
    if not (folder / f"{database}.db").exists():
        return False
    return bool(rows(folder, database, "SELECT 1 FROM sqlite_master WHERE name = ?", table))
