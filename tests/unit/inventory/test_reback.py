import pytest

from inventory_srv.domain.changes import Sheet
from inventory_srv.domain.errors import SaleReturned
from inventory_srv.domain.records import Line, MovementKind, Sale, SaleState, Stock
from tests.unit.inventory.sheets import LATER, START, reback, sell, sheet_with, units


def test_reback_gives_every_line_back() -> None:
    sheet = sheet_with(tea=5, mug=3)
    sheet.apply(sell("o1", ("tea", 2), ("mug", 3)), START)

    sale = sheet.apply(reback("o1", "refund"), LATER)

    assert sale == Sale("o1", SaleState.RETURNED, (Line("mug", 3), Line("tea", 2)), START, LATER, "refund")
    assert units(sheet, "tea") == (5, 0)
    assert units(sheet, "mug") == (3, 0)
    told = [(m.sku, m.kind, m.delta, m.available_after, m.order_sn, m.reason) for m in sheet.movements[2:]]
    assert told == [
        ("mug", MovementKind.REBACK, 3, 3, "o1", "refund"),
        ("tea", MovementKind.REBACK, 2, 5, "o1", "refund"),
    ]


def test_pitfall_06_a_second_reback_returns_nothing_and_answers_the_sale_as_it_stands() -> None:
    sheet = sheet_with(tea=5)
    sheet.apply(sell("o1", ("tea", 2)), START)
    first = sheet.apply(reback("o1", "close"), START)

    again = sheet.apply(reback("o1", "refund"), LATER)

    assert again == first
    assert units(sheet, "tea") == (5, 0)


def test_pitfall_06_a_reback_before_its_sell_leaves_a_tombstone_that_refuses_it() -> None:
    sheet = sheet_with(tea=5)

    tombstone = sheet.apply(reback("o1", "create"), START)

    assert tombstone == Sale("o1", SaleState.RETURNED, (), START, START, "create")
    for _ in range(2):
        with pytest.raises(SaleReturned):
            sheet.apply(sell("o1", ("tea", 2)), LATER)
    assert units(sheet, "tea") == (5, 0)
    assert not sheet.movements


def test_a_second_reback_answers_the_tombstone() -> None:
    sheet = sheet_with(tea=5)
    tombstone = sheet.apply(reback("o1"), START)

    assert sheet.apply(reback("o1"), LATER) == tombstone


def test_a_reback_may_exceed_the_limit_of_a_stock() -> None:
    limit = 2**31 - 1
    sheet = Sheet([Stock("tea", limit, 7, 1, START)], [Sale("o1", SaleState.SOLD, (Line("tea", 7),), START, None, "")])

    sheet.apply(reback("o1"), LATER)

    assert units(sheet, "tea") == (limit + 7, 0)


def test_a_sale_that_the_stock_does_not_know_of_is_not_given_back() -> None:
    sheet = Sheet([Stock("tea", 5, 1, 1, START)], [Sale("o1", SaleState.SOLD, (Line("tea", 2),), START, None, "")])

    with pytest.raises(AssertionError, match="1 sold"):
        sheet.apply(reback("o1"), LATER)

    assert units(sheet, "tea") == (5, 1)
    assert not sheet.returned_sales()


def test_a_sale_sold_and_returned_in_one_batch_is_written_once_as_returned() -> None:
    sheet = sheet_with(tea=5)
    sheet.apply(sell("o1", ("tea", 2)), START)
    sheet.apply(reback("o1"), LATER)

    assert [sale.state for sale in sheet.new_sales()] == [SaleState.RETURNED]
    assert not sheet.returned_sales()
