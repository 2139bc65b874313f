"""How many statements and commits an order costs the database, alone and with others: growth is to be noticed."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from order_srv.adapters.order_repository import Failed, Opened
from order_srv.domain.order import Event, EventKind, Line, Order
from order_srv.domain.order_request import RequestKey
from order_srv.domain.order_state import Cause, OrderStatus
from tests.support.databases import ENGINES
from tests.support.order_book import NOW, OrderBook, order_book

TOGETHER = 8
LINES = 4
_COUNTED = ("select", "insert", "update", "delete", "begin", "commit")
_STEPS = [Event(EventKind.SOLD, NOW), Event(EventKind.TIMEOUT_SET, NOW)]

pytestmark = pytest.mark.parametrize("engine", ENGINES, indirect=True)


@pytest.fixture
def book(engine: str, tmp_path: Path) -> Iterator[OrderBook]:
    with order_book(tmp_path) as opened:
        yield opened


def counted(book: OrderBook, work: Callable[[], object]) -> dict[str, int]:
    """How many statements of each kind the engine is given for `work`."""
    if not book.database.for_update:  # SQLite
        words = Counter(statement.split()[0].lower() for statement in book.statements_of(work))
        return {kind: words[kind] for kind in _COUNTED if words[kind]}
    with book.connection():
        before = _of_the_session(book)
        work()
        after = _of_the_session(book)
    return {kind: after[kind] - before[kind] for kind in _COUNTED if after[kind] > before[kind]}


def _of_the_session(book: OrderBook) -> dict[str, int]:
    names = ", ".join(f"'Com_{kind}'" for kind in _COUNTED)
    rows = book.database.execute(f"SHOW SESSION STATUS WHERE variable_name IN ({names})").fetchall()
    return {name.removeprefix("Com_").lower(): int(count) for name, count in rows}


def new_orders(book: OrderBook, count: int, lines: int) -> list[Order]:
    bought = tuple(Line(f"sku-{number}", "Tea", 100, 1) for number in range(lines))
    return [replace(book.add(), order_sn=f"n{number:025}", lines=bought) for number in range(count)]


@pytest.mark.parametrize(("together", "lines"), [(1, 1), (1, LINES), (TOGETHER, 1), (TOGETHER, LINES)])
def test_what_orders_cost_does_not_grow_with_their_number(book: OrderBook, together: int, lines: int) -> None:
    orders, do = new_orders(book, together, lines), book.orders
    opened: dict[str, Opened | Failed] = {order.order_sn: Opened(order, _STEPS, from_cart=False) for order in orders}
    reasons = dict.fromkeys(opened, "")

    # The orders, their lines, their first steps.
    adding = [(order, RequestKey(order.order_sn, "hash")) for order in orders]
    assert counted(book, lambda: do.add_all(adding)) == {"begin": 1, "insert": 3, "commit": 1}
    # Their states; what they have come through.
    moving = {"begin": 1, "update": 1, "insert": 1, "commit": 1}
    assert counted(book, lambda: do.settle_all(opened, NOW)) == moving
    # The same, and their rows held before.
    assert counted(book, lambda: do.close_all(Cause.CANCEL, reasons, NOW)) == {**moving, "select": 1}


def test_what_is_opened_refused_and_failed_shares_one_commit(book: OrderBook) -> None:
    opened, refused, failed = new_orders(book, 3, 1)
    book.orders.add_all([(order, RequestKey(order.order_sn, "hash")) for order in (opened, refused, failed)])
    endings: dict[str, Opened | Failed] = {
        opened.order_sn: Opened(opened, _STEPS, from_cart=True),
        refused.order_sn: Failed("NO_STOCK", owes=False),
        failed.order_sn: Failed("STOCK_UNCLEAR", owes=True),
    }
    rows: dict[str, OrderStatus] = {}

    cost = counted(book, lambda: rows.update(book.orders.settle_all(endings, NOW)))

    assert [rows[each.order_sn].state for each in (opened, refused, failed)] == ["UNPAID", "FAILED", "FAILED"]
    assert [rows[each.order_sn].owes for each in (opened, refused, failed)] == [False, False, True]
    assert cost == {"begin": 1, "select": 1, "update": 3, "insert": 1, "delete": 1, "commit": 1}
