"""How many statements and commits an order costs the database, alone and with others: growth is to be noticed."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from order_srv.adapters.order_writer import Add, Close, Open, Wanted
from order_srv.domain.order import Event, EventKind, Line, Order
from order_srv.domain.order_request import RequestKey
from order_srv.domain.order_state import CloseCause, Closing, State
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


def life_of(book: OrderBook, orders: list[Order]) -> list[list[Wanted]]:
    """What is wanted for these orders one after the other: written down, opened, closed."""
    timed_out = Closing(CloseCause.TIMEOUT)
    return [
        [Add(order, RequestKey(order.order_sn, "hash")) for order in orders],
        [Open(order, _STEPS, NOW, from_cart=False) for order in orders],
        [Close(order.order_sn, timed_out, NOW) for order in orders],
    ]


@pytest.mark.parametrize(("together", "lines"), [(1, 1), (1, LINES), (TOGETHER, 1), (TOGETHER, LINES)])
def test_what_orders_cost_does_not_grow_with_their_number(book: OrderBook, together: int, lines: int) -> None:
    adding, opening, closing = life_of(book, new_orders(book, together, lines))
    writer = book.orders.writer

    # The request looked up; the orders, their lines, their first steps.
    assert counted(book, lambda: writer.write_batch(adding)) == {"begin": 1, "select": 1, "insert": 3, "commit": 1}
    # Their states; what they have come through.
    assert counted(book, lambda: writer.write_batch(opening)) == {"begin": 1, "update": 1, "insert": 1, "commit": 1}
    assert counted(book, lambda: writer.write_batch(closing)) == {"begin": 1, "update": 1, "insert": 1, "commit": 1}


def test_all_kinds_of_writes_share_one_commit(book: OrderBook) -> None:
    first, second, third = new_orders(book, 3, 1)
    writer = book.orders.writer
    writer.write_batch(life_of(book, [first, second])[0])
    writer.write_batch(life_of(book, [first])[1])
    mixed = [life_of(book, [first])[2][0], life_of(book, [second])[1][0], life_of(book, [third])[0][0]]
    states: list[State | None] = []

    cost = counted(book, lambda: states.extend(writer.write_batch(mixed)))

    assert states == [State.CLOSED, State.UNPAID, State.CREATING]
    assert (cost["begin"], cost["commit"]) == (1, 1)
