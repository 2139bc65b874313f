"""Rows that a benchmark puts straight into the tables are as calls would have left them."""

import pytest

from inventory_srv.domain.records import SaleState
from scripts.bench.harness.prefill import PLENTY, Prefill, order_sns, sku_names
from tests.component.inventory.shop import Shop
from tests.support.stock_changes import reback, sell


def test_the_books_balance_however_often_more_is_put_in(shop: Shop) -> None:
    prefill = Prefill(shop.database, shop.database)
    for skus, sales in ((20, 40), (20, 400), (20, 400)):
        prefill.stock(skus)
        prefill.sales(sales)
    prefill.stock(3, "other")

    assert shop.audit.page(1000, "") == (23, [], "")
    assert [stock.sku for stock in shop.queries.list_stocks("sku-", 1000, "").rows] == list(sku_names(20))
    assert {shop.units(sku) for sku in sku_names(20)} == {(PLENTY - 20, 20)}
    assert prefill.sold_without_order == 400


def test_sales_that_were_put_in_are_given_back_as_any(shop: Shop) -> None:
    prefill = Prefill(shop.database, shop.database)
    prefill.stock(10)
    prefill.sales(30)
    assert [sale[0] for sale in shop.table("sale")] == list(order_sns(30))

    given_back = shop.carry_out(reback("0-sku-0000000012"))
    shop.carry_out(sell("o1", ("sku-0000002", 5)))

    assert (given_back.state, given_back.lines) == (SaleState.RETURNED, (("sku-0000002", 1),))
    newest, *older = shop.queries.list_movements("sku-0000002", None, 10, "").rows
    assert (newest.movement.delta, newest.movement.available_after) == (-5, PLENTY - 7)
    lefts = [each.movement.available_after for each in older]
    assert lefts == [PLENTY - 2, PLENTY - 3, PLENTY - 2, PLENTY - 1, PLENTY]
    assert shop.differences() == []


def test_sales_that_can_not_be_spread_evenly_are_refused(shop: Shop) -> None:
    prefill = Prefill(shop.database, shop.database)
    prefill.stock(3)

    with pytest.raises(ValueError, match="can't be spread evenly over 3 skus"):
        prefill.sales(10)
