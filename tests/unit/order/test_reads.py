"""An order is read as it was at one moment, whoever changes it meanwhile."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from common.database import Database
from order_srv.adapters import rows
from order_srv.adapters.models import OrderRow
from order_srv.domain.order import Order
from order_srv.domain.order_state import State
from order_srv.domain.payment import Outcome
from tests.support.order_book import OrderBook, order_book

Read = Callable[[OrderBook, Order], Order]


@pytest.fixture
def book(tmp_path: Path) -> Iterator[OrderBook]:
    with order_book(tmp_path) as opened:
        yield opened


def by_number(book: OrderBook, order: Order) -> Order:
    found = book.orders.get(order.order_sn)
    assert found is not None
    return found


def of_its_user(book: OrderBook, order: Order) -> Order:
    return book.queries.order(order.user_id, order.order_sn)


def in_a_list(book: OrderBook, order: Order) -> Order:
    page, _ = book.queries.orders(order.user_id, None, 10, "")
    return page[0]


@pytest.mark.parametrize("read", [by_number, of_its_user, in_a_list])
def test_an_order_that_is_paid_while_it_is_read_is_not_seen_half_paid(
    book: OrderBook, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = book.unpaid()
    load = rows.load

    def paid_before_its_payments_are_read(database: Database, orders: Sequence[OrderRow]) -> list[Order]:
        monkeypatch.setattr(rows, "load", load)
        with ThreadPoolExecutor(1) as other:
            assert other.submit(book.pay, order).result().outcome is Outcome.APPLIED
        return load(database, orders)

    monkeypatch.setattr(rows, "load", paid_before_its_payments_are_read)
    seen = read(book, order)

    assert (seen.state, seen.payments) == (State.UNPAID, ())
    after = read(book, order)
    assert (after.state, [payment.outcome for payment in after.payments]) == (State.PAID, [Outcome.APPLIED])
