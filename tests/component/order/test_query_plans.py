"""No look-up, list or round of the sweeper looks at more orders than it needs, on either engine, however many wait."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

import inventory_srv.bootstrap
from common.database import Database
from order_srv.domain.messages import NamedOrder, Reback
from order_srv.domain.order_state import Cause, State
from order_srv.domain.payment import Outcome
from scripts.bench.harness.prefill import Prefill
from tests.support.databases import url_of
from tests.support.order_book import NOW, OrderBook, order_book
from tests.support.query_plans import count_rows, dear_plans, plan_of

WAITING: Final = 5_000
SKUS: Final = 500
USER: Final = 1_000_003
LATER: Final = NOW + timedelta(days=365 * 100)
ORDER: Final = "0-sku-0000000003"
PAYMENT: Final = (
    "payment (payment_id, order_sn, amount_cents, currency, pay_type, paid_time, outcome, add_time, update_time)"
)
PAYMENTS: Final = [(f"paid-{n}", f"paid-{n}", 1, "EUR", "card", n, "REFUND_DUE", n, n) for n in range(2_000)]


@pytest.fixture
def book(engine: str, tmp_path: Path) -> Iterator[OrderBook]:
    """Very many orders that wait for their payment, and a few of every other kind."""
    inventory = Database(url_of(tmp_path, "inventory"))
    inventory.migrate(inventory_srv.bootstrap.MIGRATIONS)
    with order_book(tmp_path) as opened:
        prefill = Prefill(inventory, opened.database)
        prefill.skus(SKUS)
        prefill.sales(WAITING, waiting=True)
        for _ in range(20):
            opened.add()
            opened.cancel(opened.unpaid())
            opened.pay(opened.unpaid())
        opened.database.write(lambda: opened.database.insert_many(PAYMENT, PAYMENTS))
        count_rows(opened.database, "orders", "order_line", "order_event", "payment", "goods")
        yield opened
    inventory.close()


def pages(page: Callable[[str], tuple[object, str]]) -> None:
    _, token = page("")
    assert token, "there is a second page"
    page(token)


def lists(book: OrderBook) -> None:
    pages(lambda token: book.queries.orders(USER, None, 2, token))
    pages(lambda token: book.queries.orders(USER, State.UNPAID, 2, token))
    pages(lambda token: book.queries.payments("", None, 2, token))
    pages(lambda token: book.queries.payments("", Outcome.APPLIED, 2, token))
    pages(lambda token: (rows := book.goods.page(token or None, 2), rows[-1].sku))
    book.queries.timeline(ORDER, 10, "")


def look_ups(book: OrderBook) -> None:
    book.orders.get(ORDER)
    book.queries.order(USER, ORDER)
    book.orders.earlier_order(USER, ORDER)
    book.goods.find(["sku-0000001", "sku-0000002"])


def moves(book: OrderBook) -> None:
    order = book.unpaid()
    book.pay(order)
    book.orders.close_all(Cause.REFUND, {order.order_sn: ""}, NOW)
    book.orders.close_all(Cause.CANCEL, {ORDER: ""}, NOW)
    reback = Reback(Cause.CANCEL, NOW, (NamedOrder(ORDER), NamedOrder(order.order_sn)))
    book.orders.answer_check_back(reback, NOW, creating_grace=timedelta())
    book.orders.hurry_returns([ORDER, order.order_sn], NOW)


def sweeps(book: OrderBook) -> None:
    assert len(book.sweep.close_overdue(LATER, LATER, 10)) == 10
    assert len(book.sweep.fail_abandoned(LATER, LATER, 10)) == 10
    owed = book.sweep.owed_returns(LATER, 10)
    assert len(owed) == 10
    book.sweep.stock_returned([each.order_sn for each in owed], LATER)
    book.sweep.put_off_return(ORDER, LATER)
    assert book.sweep.close_overdue(NOW - timedelta(days=1), LATER, 200) == []


@pytest.mark.parametrize("work", [lists, look_ups, moves, sweeps], ids=lambda work: work.__name__)
def test_what_is_looked_for_is_found_by_an_index(book: OrderBook, work: Callable[[OrderBook], None]) -> None:
    assert dear_plans(book.database, lambda: work(book)) == {}


def test_a_full_scan_would_be_seen(book: OrderBook) -> None:
    assert "WHOLE" in str(plan_of(book.database, "SELECT * FROM orders WHERE note = 'x'", ()))
