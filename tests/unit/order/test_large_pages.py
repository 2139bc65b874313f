"""A page of lists stays below what a client takes, however large its orders are."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from common.clock import SystemClock
from order_srv.domain.order import Line, Order
from order_srv.domain.order_request import RequestKey
from order_srv.entrypoints.translation import to_goods, to_order
from order_srv.use_cases.price_book import PriceBook
from reback.order.v1 import order_pb2 as pb
from tests.support.order_book import OrderBook, order_book

LARGEST_MESSAGE: Final = 4 * 1024 * 1024
ORDERS: Final = 80
LINES: Final = 100


@pytest.fixture
def book(tmp_path: Path) -> Iterator[OrderBook]:
    with order_book(tmp_path) as opened:
        yield opened


def add_large_orders(book: OrderBook) -> set[str]:
    pattern = book.add()
    lines = tuple(Line(f"{'茶' * 60}{number:03}", "茶" * 200, 100, 1) for number in range(LINES))
    orders = [replace(pattern, order_sn=f"large{number:03}", lines=lines) for number in range(ORDERS)]
    for order in orders:
        book.orders.add(order, RequestKey(order.order_sn, "hash"))
    return {pattern.order_sn, *(order.order_sn for order in orders)}


def test_no_page_of_orders_of_a_hundred_long_lines_passes_a_clients_limit(book: OrderBook) -> None:
    made = add_large_orders(book)
    assert len(made) * LINES * 800 > LARGEST_MESSAGE, "they do not fit in one"

    pages: list[list[Order]] = []
    token = ""
    while token or not pages:
        page, token = book.queries.orders(1, None, 1000, token)
        pages.append(page)

    listed = [order.order_sn for page in pages for order in page]
    assert listed == sorted(made, reverse=True)
    sizes = [pb.ListOrdersResponse(orders=map(to_order, page)).ByteSize() for page in pages]
    assert max(sizes) < LARGEST_MESSAGE
    assert min(sizes[:-1]) > LARGEST_MESSAGE / 2, "the pages are not smaller than they need be"


def test_no_page_of_goods_with_long_addresses_passes_a_clients_limit(book: OrderBook) -> None:
    columns = "goods (sku, name, image_url, price_cents, currency, on_sale, add_time, update_time)"
    url = f"https://example.org/{'茶' * 1900}"
    entries = [(f"{number:03}", "茶" * 200, url, 100, "EUR", 1, 0, 0) for number in range(900)]
    book.database.write(lambda: book.database.insert_many(columns, entries))

    first, token = PriceBook(goods=book.goods, clock=SystemClock()).page(1000, "")

    assert LARGEST_MESSAGE / 2 < pb.ListGoodsResponse(goods=map(to_goods, first)).ByteSize() < LARGEST_MESSAGE
    rest, token = PriceBook(goods=book.goods, clock=SystemClock()).page(1000, token)
    assert [goods.sku for goods in [*first, *rest]] == [f"{number:03}" for number in range(900)]
    assert not token
