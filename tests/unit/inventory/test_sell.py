import pytest

from inventory_srv.domain.errors import DifferentContent, NoStock, SaleReturned, SkuNotFound
from inventory_srv.domain.records import Line, MovementKind, SaleState
from tests.support.stock_changes import LATER, START, reback, sell, units, working_set_with


def test_sell_takes_the_stock_of_every_line() -> None:
    working_set = working_set_with(tea=5, mug=3)

    sale = working_set.apply(sell("o1", ("tea", 2), ("mug", 3)), LATER)

    assert sale.state is SaleState.SOLD
    assert sale.lines == (Line("mug", 3), Line("tea", 2))
    assert (sale.create_time, sale.return_time, sale.return_reason) == (LATER, None, "")
    assert units(working_set, "tea") == (3, 2)
    assert units(working_set, "mug") == (0, 3)


def test_sell_writes_a_movement_for_each_sku() -> None:
    working_set = working_set_with(tea=5, mug=3)

    working_set.apply(sell("o1", ("tea", 2), ("mug", 3)), LATER)

    answer = [(m.sku, m.kind, m.delta, m.available_after, m.order_sn, m.create_time) for m in working_set.movements]
    assert answer == [
        ("mug", MovementKind.SELL, -3, 0, "o1", LATER),
        ("tea", MovementKind.SELL, -2, 3, "o1", LATER),
    ]


def test_sell_raises_the_version_by_one_however_many_units_it_takes() -> None:
    working_set = working_set_with(tea=5)

    working_set.apply(sell("o1", ("tea", 3)), LATER)

    assert (working_set.stocks["tea"].version, working_set.stocks["tea"].update_time) == (2, LATER)


def test_pitfall_07_the_same_sku_in_two_lines_is_summed() -> None:
    working_set = working_set_with(tea=5)

    sale = working_set.apply(sell("o1", ("tea", 2), ("tea", 1)), START)

    assert sale.lines == (Line("tea", 3),)
    assert units(working_set, "tea") == (2, 3)


def test_pitfall_07_the_same_sku_in_two_lines_is_short_by_its_sum() -> None:
    working_set = working_set_with(tea=5)

    with pytest.raises(NoStock) as refused:
        working_set.apply(sell("o1", ("tea", 3), ("tea", 3)), START)

    assert refused.value.metadata == {"sku": "tea", "asked": "6", "available": "5"}


def test_a_sum_beyond_any_stock_is_no_stock() -> None:
    working_set = working_set_with(tea=2**31 - 1)

    with pytest.raises(NoStock) as refused:
        working_set.apply(sell("o1", *[("tea", 2**31 - 1)] * 100), START)

    assert refused.value.metadata["asked"] == str(100 * (2**31 - 1))


def test_every_short_sku_is_named_with_what_was_asked_and_what_is_available() -> None:
    working_set = working_set_with(tea=1, mug=9, pot=0)

    with pytest.raises(NoStock) as refused:
        working_set.apply(sell("o1", ("tea", 2), ("pot", 1), ("mug", 9)), START)

    answer = [(v.type, v.subject, v.description) for v in refused.value.violations]
    assert answer == [
        ("NO_STOCK", "pot", "asked 1, available 0"),
        ("NO_STOCK", "tea", "asked 2, available 1"),
    ]


def test_unknown_skus_are_all_named_and_come_before_short_ones() -> None:
    working_set = working_set_with(tea=0)

    with pytest.raises(SkuNotFound) as refused:
        working_set.apply(sell("o1", ("tea", 1), ("who", 1), ("what", 1)), START)

    assert [(v.type, v.subject) for v in refused.value.violations] == [
        ("SKU_NOT_FOUND", "what"),
        ("SKU_NOT_FOUND", "who"),
    ]


@pytest.mark.parametrize("lines", [[("tea", 2), ("pot", 9)], [("tea", 2), ("who", 1)]])
def test_a_refused_sell_leaves_the_working_set_as_it_was(lines: list[tuple[str, int]]) -> None:
    working_set = working_set_with(tea=5, pot=1)
    before = (dict(working_set.stocks), dict(working_set.sales), list(working_set.movements))

    with pytest.raises((NoStock, SkuNotFound)):
        working_set.apply(sell("o1", *lines), START)

    assert (working_set.stocks, working_set.sales, working_set.movements) == before
    assert not working_set.changed_stocks()


def test_pitfall_05_a_repeated_sell_gives_the_first_sale_and_takes_nothing() -> None:
    working_set = working_set_with(tea=5)
    first = working_set.apply(sell("o1", ("tea", 2)), START)

    again = working_set.apply(sell("o1", ("tea", 2)), LATER)

    assert again == first
    assert units(working_set, "tea") == (3, 2)
    assert len(working_set.movements) == 1


def test_pitfall_05_a_repeated_sell_of_the_last_unit_succeeds() -> None:
    working_set = working_set_with(tea=1)
    first = working_set.apply(sell("o1", ("tea", 1)), START)

    assert working_set.apply(sell("o1", ("tea", 1)), LATER) == first


@pytest.mark.parametrize("again", [[("mug", 1), ("tea", 2)], [("tea", 1), ("mug", 1), ("tea", 1)]])
def test_a_repeat_may_order_or_split_its_lines_another_way(again: list[tuple[str, int]]) -> None:
    working_set = working_set_with(tea=5, mug=5)
    first = working_set.apply(sell("o1", ("tea", 2), ("mug", 1)), START)

    assert working_set.apply(sell("o1", *again), LATER) == first


@pytest.mark.parametrize("other", [[("tea", 3)], [("mug", 2)], [("tea", 2), ("mug", 1)]])
def test_the_same_order_with_other_lines_is_different_content(other: list[tuple[str, int]]) -> None:
    working_set = working_set_with(tea=5, mug=5)
    working_set.apply(sell("o1", ("tea", 2)), START)

    with pytest.raises(DifferentContent) as refused:
        working_set.apply(sell("o1", *other), LATER)

    assert refused.value.metadata == {"order_sn": "o1"}


@pytest.mark.parametrize("lines", [[("tea", 2)], [("tea", 3)], [("who", 1)]])
def test_a_sell_after_its_reback_is_returned_whatever_it_asks_for(lines: list[tuple[str, int]]) -> None:
    working_set = working_set_with(tea=5)
    working_set.apply(sell("o1", ("tea", 2)), START)
    working_set.apply(reback("o1"), START)

    for _ in range(2):
        with pytest.raises(SaleReturned) as refused:
            working_set.apply(sell("o1", *lines), LATER)

    assert [(v.type, v.subject) for v in refused.value.violations] == [("SALE_RETURNED", "o1")]
    assert units(working_set, "tea") == (5, 0)
