"""Orders are opened without a look at their rows: who moved one meanwhile is found out, and nobody else is touched."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from order_srv.adapters.cart_repository import CartItem
from order_srv.adapters.order_repository import Failed, Opened
from order_srv.domain.order import Event, EventKind, Order
from order_srv.domain.order_state import OrderStatus, State
from tests.support.databases import ENGINES
from tests.support.order_book import NOW, PAY_WITHIN, OrderBook, order_book

LATER = NOW + timedelta(seconds=1)
STEPS = [Event(EventKind.SOLD, LATER), Event(EventKind.TIMEOUT_SET, LATER)]

pytestmark = pytest.mark.parametrize("engine", ENGINES, indirect=True)


@pytest.fixture
def book(engine: str, tmp_path: Path) -> Iterator[OrderBook]:
    with order_book(tmp_path) as opened:
        yield opened


def open_all(book: OrderBook, *orders: Order) -> dict[str, OrderStatus]:
    return book.orders.settle_all({order.order_sn: Opened(order, STEPS, from_cart=True) for order in orders}, LATER)


def fail(book: OrderBook, order: Order) -> None:
    book.orders.settle_all({order.order_sn: Failed("STOCK_UNCLEAR", owes=True)}, NOW)


def steps(book: OrderBook, order: Order) -> list[EventKind]:
    return [event.kind for event in book.queries.timeline(order.order_sn, 10, "")[0]]


def put_into_cart(book: OrderBook, order: Order) -> None:
    for line in order.lines:
        book.carts.put(CartItem(order.user_id, line.sku, line.quantity, selected=True, update_time=NOW))


def in_cart(book: OrderBook, user: int) -> list[str]:
    return [sku for sku, _ in book.carts.selected([user], limit=10).get(user, [])]


def test_an_order_that_failed_meanwhile_stays_failed_and_the_others_are_opened(book: OrderBook) -> None:
    first, failed, last = (book.add(user) for user in (1, 2, 3))
    for order in (first, failed, last):
        put_into_cart(book, order)
    fail(book, failed)

    rows = open_all(book, first, failed, last)

    assert rows == {
        first.order_sn: OrderStatus(State.UNPAID, False, NOW, NOW + PAY_WITHIN),
        failed.order_sn: OrderStatus(State.FAILED, True, NOW, NOW + PAY_WITHIN),
        last.order_sn: OrderStatus(State.UNPAID, False, NOW, NOW + PAY_WITHIN),
    }
    assert rows == book.orders.statuses(list(rows))
    opened = [EventKind.CREATED, EventKind.SOLD, EventKind.TIMEOUT_SET]
    assert [steps(book, order) for order in (first, last)] == [opened] * 2
    assert steps(book, failed) == [EventKind.CREATED, EventKind.FAILED]
    assert [in_cart(book, user) for user in (1, 2, 3)] == [[], ["jam", "tea"], []]


def test_orders_that_were_opened_before_are_found_so_and_get_no_second_steps(book: OrderBook) -> None:
    orders = [book.add(), book.add()]
    first = open_all(book, *orders)
    assert open_all(book, *orders) == first
    assert steps(book, orders[0]) == [EventKind.CREATED, EventKind.SOLD, EventKind.TIMEOUT_SET]


def test_an_order_that_is_not_there_is_left_out_and_the_others_are_opened(book: OrderBook) -> None:
    order, absent = book.add(), book.add()
    book.database.write(lambda: book.database.execute("DELETE FROM orders WHERE order_sn = ?", (absent.order_sn,)))
    assert {order_sn: row.state for order_sn, row in open_all(book, order, absent).items()} == {
        order.order_sn: State.UNPAID
    }
