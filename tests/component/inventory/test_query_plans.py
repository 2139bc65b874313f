"""No read, audit or batch of changes looks at more rows than it needs, on either engine, however many there are."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import pytest

from inventory_srv.domain.records import SaleState
from scripts.bench.harness.prefill import Prefill, sku_names
from tests.component.inventory.shop import Shop
from tests.support.query_plans import count_rows, dear_plans, plan_of
from tests.support.stock_changes import adjust, reback, sell

SALES: Final = 5_000
SKUS: Final = 500
FEW: Final = sku_names(3)
LATER: Final = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture
def shop(shop: Shop) -> Shop:
    """A shop with so many rows that an engine gains by an index."""
    prefill = Prefill(shop.database, shop.database)
    prefill.stock(SKUS)
    prefill.sales(SALES)
    shop.database.write(lambda: shop.database.execute("INSERT INTO opening_balance SELECT sku, 0, 0, 0 FROM stock"))
    count_rows(shop.database, "stock", "sale", "sale_line", "movement", "opening_balance")
    return shop


def pages(page: Callable[[str], tuple[object, str]]) -> None:
    """A first page, and the one after it."""
    _, token = page("")
    assert token, "there is a second page"
    page(token)


def list_stocks(shop: Shop) -> None:
    pages(lambda token: shop.queries.list_stocks("", 10, token))
    pages(lambda token: shop.queries.list_stocks("sku-00001", 10, token))


def list_sales(shop: Shop) -> None:
    pages(lambda token: shop.queries.list_sales(None, None, 10, token))
    pages(lambda token: shop.queries.list_sales(SaleState.SOLD, LATER, 10, token))


def list_movements(shop: Shop) -> None:
    pages(lambda token: shop.queries.list_movements(FEW[0], None, 2, token))
    shop.queries.list_movements(None, "0-sku-0000000001", 10, "")


def read_stocks_and_sales(shop: Shop) -> None:
    shop.queries.batch_get_stocks(FEW)
    shop.queries.batch_get_sales(["0-sku-0000000001", "0-sku-0000000007"])


def audit(shop: Shop) -> None:
    page = shop.audit.page(10, "")
    shop.audit.page(10, page.next_page_token)


def change(shop: Shop) -> None:
    shop.outcomes([sell("o1", *((sku, 1) for sku in FEW)), adjust(FEW[0], 1), reback("0-sku-0000000001")])
    shop.outcomes([reback("o1"), sell("o1", (FEW[0], 1))])


@pytest.mark.parametrize(
    "work",
    [list_stocks, list_sales, list_movements, read_stocks_and_sales, audit, change],
    ids=lambda work: work.__name__,
)
def test_what_is_looked_for_is_found_by_an_index(shop: Shop, work: Callable[[Shop], None]) -> None:
    assert dear_plans(shop.database, lambda: work(shop)) == {}


@pytest.mark.parametrize(
    ("statement", "answer"),
    [
        ("SELECT * FROM movement WHERE reason = 'x'", "WHOLE"),
        ("SELECT * FROM movement WHERE sku > 'sku-0000400' ORDER BY reason LIMIT 5", "SORTED"),
    ],
)
def test_what_costs_by_the_number_of_rows_would_be_seen(shop: Shop, statement: str, answer: str) -> None:
    assert answer in str(plan_of(shop.database, statement, ()))
