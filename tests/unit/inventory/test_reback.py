import pytest

from inventory_srv.domain.changes import WorkingSet
from inventory_srv.domain.errors import SaleReturned
from inventory_srv.domain.records import Line, MovementKind, Sale, SaleState, Stock
from tests.support.stock_changes import LATER, START, reback, sell, units, working_set_with


def test_reback_gives_every_line_back() -> None:
    working_set = working_set_with(tea=5, mug=3)
    working_set.apply(sell("o1", ("tea", 2), ("mug", 3)), START)

    sale = working_set.apply(reback("o1", "refund"), LATER)

    assert sale == Sale("o1", SaleState.RETURNED, (Line("mug", 3), Line("tea", 2)), START, LATER, "refund")
    assert units(working_set, "tea") == (5, 0)
    assert units(working_set, "mug") == (3, 0)
    answer = [(m.sku, m.kind, m.delta, m.available_after, m.order_sn, m.reason) for m in working_set.movements[2:]]
    assert answer == [
        ("mug", MovementKind.REBACK, 3, 3, "o1", "refund"),
        ("tea", MovementKind.REBACK, 2, 5, "o1", "refund"),
    ]


def test_pitfall_06_a_second_reback_returns_nothing_and_answers_the_sale_as_it_stands() -> None:
    working_set = working_set_with(tea=5)
    working_set.apply(sell("o1", ("tea", 2)), START)
    first = working_set.apply(reback("o1", "close"), START)

    again = working_set.apply(reback("o1", "refund"), LATER)

    assert again == first
    assert units(working_set, "tea") == (5, 0)


def test_pitfall_06_a_reback_before_its_sell_leaves_a_tombstone_that_refuses_it() -> None:
    working_set = working_set_with(tea=5)

    tombstone = working_set.apply(reback("o1", "create"), START)

    assert tombstone == Sale("o1", SaleState.RETURNED, (), START, START, "create")
    for _ in range(2):
        with pytest.raises(SaleReturned):
            working_set.apply(sell("o1", ("tea", 2)), LATER)
    assert units(working_set, "tea") == (5, 0)
    assert not working_set.movements


def test_a_second_reback_answers_the_tombstone() -> None:
    working_set = working_set_with(tea=5)
    tombstone = working_set.apply(reback("o1"), START)

    assert working_set.apply(reback("o1"), LATER) == tombstone


def test_a_reback_may_exceed_the_limit_of_a_stock() -> None:
    limit = 2**31 - 1
    working_set = WorkingSet(
        [Stock("tea", limit, 7, 1, START)], [Sale("o1", SaleState.SOLD, (Line("tea", 7),), START, None, "")]
    )

    working_set.apply(reback("o1"), LATER)

    assert units(working_set, "tea") == (limit + 7, 0)


def test_a_sale_that_the_stock_does_not_know_of_is_not_given_back() -> None:
    working_set = WorkingSet(
        [Stock("tea", 5, 1, 1, START)], [Sale("o1", SaleState.SOLD, (Line("tea", 2),), START, None, "")]
    )

    with pytest.raises(AssertionError, match="1 sold"):
        working_set.apply(reback("o1"), LATER)

    assert units(working_set, "tea") == (5, 1)
    assert not working_set.returned_sales()


def test_a_sale_sold_and_returned_in_one_batch_is_written_once_as_returned() -> None:
    working_set = working_set_with(tea=5)
    working_set.apply(sell("o1", ("tea", 2)), START)
    working_set.apply(reback("o1"), LATER)

    assert [sale.state for sale in working_set.new_sales()] == [SaleState.RETURNED]
    assert not working_set.returned_sales()
