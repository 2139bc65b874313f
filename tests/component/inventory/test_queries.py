"""What can be asked: found, not found, in order, page by page."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from common import paging
from common.errors import InvalidArgument
from common.paging import Page
from inventory_srv.domain.errors import SaleNotFound, SkuNotFound
from inventory_srv.domain.records import SaleState
from inventory_srv.use_cases.queries import after_prefix
from tests.component.inventory.shop import Shop, open_shop
from tests.support.manual_clock import ManualClock
from tests.support.stock_changes import adjust, reback, sell, set_stock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def shop(engine: str, tmp_path: Path, clock: ManualClock) -> Iterator[Shop]:
    with open_shop(tmp_path / "inventory.db", clock=clock) as opened:
        yield opened


def every(page: Callable[[str], Page[Any]]) -> list[list[Any]]:
    """The rows of each page, to the last."""
    pages, token = [], ""
    while True:
        rows, token = page(token)
        pages.append(list(rows))
        if not token:
            return pages


def test_stocks_come_in_the_order_asked_repeats_too(shop: Shop) -> None:
    shop.stock_up(tea=1, mug=2)

    stocks = shop.queries.batch_get_stocks(["mug", "tea", "mug"])

    assert [(stock.sku, stock.available) for stock in stocks] == [("mug", 2), ("tea", 1), ("mug", 2)]


def test_every_unknown_sku_is_named(shop: Shop) -> None:
    shop.stock_up(tea=1)

    with pytest.raises(SkuNotFound) as refused:
        shop.queries.batch_get_stocks(["who", "tea", "what"])

    assert [violation.subject for violation in refused.value.violations] == ["what", "who"]


def test_skus_are_told_apart_byte_by_byte(shop: Shop) -> None:
    skus = ["tea", "Tea", "tea ", "té", "te\u0301", "茶", "🍵"]
    for units, sku in enumerate(skus):
        shop.carry_out(set_stock(sku, units))

    assert [stock.available for stock in shop.queries.batch_get_stocks(skus)] == list(range(len(skus)))


def test_stocks_are_listed_by_sku_page_by_page(shop: Shop) -> None:
    skus = ["a", "a1", "b", "z", "é", "茶", "🍵"]
    for sku in reversed(skus):
        shop.carry_out(set_stock(sku, 1))

    pages = every(lambda token: shop.queries.list_stocks("", 3, token))

    assert [[stock.sku for stock in page] for page in pages] == [skus[:3], skus[3:6], skus[6:]]


def test_a_list_whose_last_page_is_full_ends_there(shop: Shop) -> None:
    shop.stock_up(a=1, b=1, c=1, d=1)

    assert [len(page) for page in every(lambda token: shop.queries.list_stocks("", 2, token))] == [2, 2]


@pytest.mark.parametrize(
    ("prefix", "found"),
    [
        ("tea", ["tea", "tea-1", "tea-2", "teapot"]),
        ("tea-", ["tea-1", "tea-2"]),
        ("%", ["%off"]),
        ("te_", []),
        ("\U0010ffff", ["\U0010ffff", "\U0010ffff\U0010ffff"]),
        ("\ud7ff", ["\ud7ff1"]),
        ("nothing", []),
    ],
)
def test_stocks_are_listed_by_prefix_which_knows_no_wildcards(shop: Shop, prefix: str, found: list[str]) -> None:
    for sku in ["%off", "tea", "tea-1", "tea-2", "teapot", "teb", "\ud7ff1", "\ue000", "\U0010ffff", "\U0010ffff" * 2]:
        shop.carry_out(set_stock(sku, 1))

    pages = every(lambda token: shop.queries.list_stocks(prefix, 2, token))

    assert [stock.sku for page in pages for stock in page] == found


def test_nothing_sorts_after_a_prefix_of_last_characters() -> None:
    assert after_prefix("\U0010ffff" * 3) is None
    assert after_prefix("a\U0010ffff") == "b"
    assert after_prefix("\ud7ff") == "\ue000"


def test_an_unknown_sale_is_not_found(shop: Shop) -> None:
    with pytest.raises(SaleNotFound) as refused:
        shop.queries.get_sale("o1")

    assert refused.value.metadata == {"order_sn": "o1"}


def test_those_sales_that_exist_come_in_the_order_asked(shop: Shop) -> None:
    shop.stock_up(tea=5, mug=5)
    first = shop.carry_out(sell("o1", ("tea", 1), ("mug", 2)))
    tombstone = shop.carry_out(reback("o2"))

    assert shop.queries.batch_get_sales(["o2", "who", "o1", "o2"]) == ([tombstone, first], [])
    assert shop.queries.batch_get_sales(["who"]) == ([], [])


def sold_one_a_minute(shop: Shop, clock: ManualClock) -> None:
    """o0 to o5, two of them in the same minute, o1 and o4 returned."""
    shop.stock_up(tea=50)
    for n in range(6):
        if n != 3:
            clock.advance(timedelta(minutes=1))
        shop.carry_out(sell(f"o{n}", ("tea", 1)))
    shop.carry_out(reback("o1"))
    shop.carry_out(reback("o4"))


@pytest.mark.parametrize(
    ("state", "found"),
    [
        (None, [["o5", "o4", "o3"], ["o2", "o1", "o0"]]),
        (SaleState.SOLD, [["o5", "o3", "o2"], ["o0"]]),
        (SaleState.RETURNED, [["o4", "o1"]]),
    ],
)
def test_sales_are_listed_newest_first(
    shop: Shop, clock: ManualClock, state: SaleState | None, found: list[list[str]]
) -> None:
    sold_one_a_minute(shop, clock)

    pages = every(lambda token: shop.queries.list_sales(state, None, 3, token))

    assert [[sale.order_sn for sale in page] for page in pages] == found


@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_no_sale_is_lost_or_doubled_between_pages_of_one_moment(shop: Shop, clock: ManualClock, size: int) -> None:
    sold_one_a_minute(shop, clock)

    pages = every(lambda token: shop.queries.list_sales(None, None, size, token))

    assert [sale.order_sn for page in pages for sale in page] == ["o5", "o4", "o3", "o2", "o1", "o0"]


def test_sales_are_listed_from_before_a_time(shop: Shop, clock: ManualClock) -> None:
    sold_one_a_minute(shop, clock)
    of_o2 = shop.queries.get_sale("o2").create_time

    def listed(before: datetime) -> list[str]:
        return [sale.order_sn for sale in shop.queries.list_sales(SaleState.SOLD, before, 0, "").rows]

    assert listed(of_o2) == ["o0"]
    assert listed(of_o2 + timedelta(microseconds=1)) == ["o3", "o2", "o0"]
    assert listed(datetime(1, 1, 1, tzinfo=UTC)) == []


def test_movements_of_a_sku_are_listed_newest_first(shop: Shop) -> None:
    shop.stock_up(tea=5, mug=5)
    shop.carry_out(sell("o1", ("tea", 1), ("mug", 1)))
    shop.carry_out(adjust("tea", 2))
    shop.carry_out(reback("o1"))

    pages = every(lambda token: shop.queries.list_movements("tea", None, 3, token))

    answer = [[(row.movement.kind, row.movement.delta, row.movement.available_after) for row in page] for page in pages]
    assert answer == [[("REBACK", 1, 7), ("ADJUST", 2, 6), ("SELL", -1, 4)], [("SET", 5, 5)]]
    ids = [row.id for page in pages for row in page]
    assert ids == sorted(ids, reverse=True)


def test_movements_of_an_order_are_listed_newest_first(shop: Shop) -> None:
    shop.stock_up(tea=5, mug=5)
    shop.carry_out(sell("o1", ("tea", 1), ("mug", 1)))
    shop.carry_out(sell("o2", ("tea", 1)))
    shop.carry_out(reback("o1"))

    pages = every(lambda token: shop.queries.list_movements(None, "o1", 3, token))

    answer = [[(row.movement.kind, row.movement.sku, row.movement.order_sn) for row in page] for page in pages]
    assert answer == [
        [("REBACK", "tea", "o1"), ("REBACK", "mug", "o1"), ("SELL", "tea", "o1")],
        [("SELL", "mug", "o1")],
    ]


def test_a_list_without_a_page_size_has_pages_of_50(shop: Shop) -> None:
    shop.outcomes([set_stock(f"s{n:02}", 1) for n in range(51)])

    assert [len(page) for page in every(lambda token: shop.queries.list_stocks("", 0, token))] == [50, 1]


@pytest.mark.parametrize(
    "token",
    [
        "nonsense",
        paging.encode((1,)),
        paging.encode(("x", "y", "z")),
        paging.encode((2**63, "o1")),
        paging.encode((-(2**63) - 1, "o1")),
        paging.encode((1, "\ud800")),
    ],
)
def test_a_token_that_no_page_gave_is_refused(shop: Shop, token: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        shop.queries.list_sales(None, None, 1, token)

    assert [violation.subject for violation in refused.value.violations] == ["page_token"]


def test_a_token_of_a_time_beyond_the_calendar_is_only_beyond_every_sale(shop: Shop) -> None:
    assert shop.queries.list_sales(None, None, 1, paging.encode((2**63 - 1, "o1"))).rows == []
