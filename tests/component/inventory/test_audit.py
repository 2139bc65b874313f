"""The audit finds what does not balance, in whichever of the three books it is."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from inventory_srv.domain.records import StockDifference
from inventory_srv.use_cases.audit import Audit
from tests.component.inventory.shop import Shop
from tests.support.stock_changes import adjust, reback, sell, set_stock
from tests.support.waiting import TIMEOUT_S


@pytest.fixture
def shop(shop: Shop) -> Shop:
    """A shop with some history: 8 teas available and 3 sold, 9 mugs and 1."""
    shop.stock_up(tea=10, mug=10)
    shop.carry_out(sell("o1", ("tea", 3), ("mug", 1)))
    shop.carry_out(sell("o2", ("tea", 5)))
    shop.carry_out(reback("o2"))
    shop.carry_out(adjust("tea", 1))
    return shop


def tamper(shop: Shop, statement: str) -> None:
    def work() -> None:
        assert shop.database.engine.execute_sql(statement).rowcount > 0

    shop.database.write(work)


def test_books_in_balance_show_no_difference(shop: Shop) -> None:
    assert shop.audit.page(0, "") == (2, [], "")


@pytest.mark.parametrize(
    ("statement", "difference"),
    [
        ("UPDATE stock SET available = 9 WHERE sku = 'tea'", StockDifference("tea", 9, 3, 8, 3, 3)),
        ("UPDATE stock SET sold = 2 WHERE sku = 'tea'", StockDifference("tea", 8, 2, 8, 3, 3)),
        ("DELETE FROM stock WHERE sku = 'tea'", StockDifference("tea", 0, 0, 8, 3, 3)),
        ("UPDATE sale SET state = 'RETURNED' WHERE order_sn = 'o1'", None),
        ("UPDATE sale SET state = 'SOLD' WHERE order_sn = 'o2'", StockDifference("tea", 8, 3, 8, 3, 8)),
        (
            "UPDATE sale_line SET quantity = 4 WHERE order_sn = 'o1' AND sku = 'tea'",
            StockDifference("tea", 8, 3, 8, 3, 4),
        ),
        ("DELETE FROM movement WHERE kind = 'REBACK'", StockDifference("tea", 8, 3, 3, 8, 3)),
        ("UPDATE movement SET delta = 2 WHERE kind = 'ADJUST'", StockDifference("tea", 8, 3, 9, 3, 3)),
    ],
)
def test_a_difference_in_any_of_the_books_is_found(
    shop: Shop, statement: str, difference: StockDifference | None
) -> None:
    tamper(shop, statement)

    found = shop.audit.page(0, "").differences

    if difference is None:  # of both skus of the order
        assert [(books.sku, books.sold, books.sold_by_sales) for books in found] == [("mug", 1, 0), ("tea", 3, 0)]
    else:
        assert found == [difference]


@pytest.mark.parametrize(
    ("statement", "difference"),
    [
        (
            "INSERT INTO movement VALUES (NULL, 'ghost', 'SET', 4, 4, NULL, 'r', '', 0)",
            StockDifference("ghost", 0, 0, 4, 0, 0),
        ),
        ("INSERT INTO sale_line VALUES ('o1', 'ghost', 4)", StockDifference("ghost", 0, 0, 0, 0, 4)),
        ("INSERT INTO stock VALUES ('ghost', 4, 0, 1, 0, 0)", StockDifference("ghost", 4, 0, 0, 0, 0)),
    ],
)
def test_a_sku_that_only_one_book_has_is_found(shop: Shop, statement: str, difference: StockDifference) -> None:
    tamper(shop, statement)

    assert shop.audit.page(0, "") == (3, [difference], "")


def test_the_audit_goes_page_by_page_over_the_skus_of_all_books(shop: Shop) -> None:
    shop.stock_up(**{f"s{n}": 1 for n in range(5)})
    tamper(shop, "UPDATE stock SET available = 2 WHERE sku IN ('s0', 's4')")
    tamper(shop, "DELETE FROM stock WHERE sku = 's2'")

    pages: list[tuple[int, list[str]]] = []
    token = ""
    while token or not pages:
        page = shop.audit.page(3, token)
        token = page.next_page_token
        pages.append((page.skus_checked, [books.sku for books in page.differences]))

    assert pages == [(3, ["s0"]), (3, ["s2", "s4"]), (1, [])]


def test_pages_of_a_thousand_skus_are_whole(shop: Shop) -> None:
    shop.outcomes([set_stock(f"s{n:04}", 1) for n in range(1200)])

    first = shop.audit.page(1000, "")
    last = shop.audit.page(1000, first.next_page_token)

    assert (first.skus_checked, last.skus_checked) == (1000, 202)
    assert first.differences + last.differences == []
    assert last.next_page_token == ""


def test_a_page_is_one_moment_whatever_is_sold_meanwhile(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    as_it_is = shop.audit._rows
    sold: list[object] = []

    def read_while_others_sell(query: Any) -> list[Any]:
        with ThreadPoolExecutor(1) as pool:
            sold.append(pool.submit(shop.carry_out, sell(f"new{len(sold)}", ("tea", 1))).result(TIMEOUT_S))
        return as_it_is(query)

    monkeypatch.setattr(shop.audit, "_rows", read_while_others_sell)

    assert shop.audit.page(0, "") == (2, [], "")
    assert len(sold) == 8


def test_a_page_that_takes_long_ends_early_and_the_next_goes_on_there(shop: Shop) -> None:
    shop.outcomes([set_stock(f"s{n:04}", 1) for n in range(600)])
    tamper(shop, "UPDATE stock SET available = 2 WHERE sku IN ('s0010', 's0510')")
    hurried = Audit(shop.database, page_within=timedelta())

    pages: list[tuple[int, list[str]]] = []
    token = ""
    while token or not pages:
        page = hurried.page(1000, token)
        token = page.next_page_token
        pages.append((page.skus_checked, [books.sku for books in page.differences]))

    assert pages == [(250, ["s0010"]), (250, []), (102, ["s0510"])]
