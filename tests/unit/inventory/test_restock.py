import pytest

from inventory_srv.domain.changes import LARGEST_AVAILABLE, AdjustStock, Change, SetStock, WorkingSet
from inventory_srv.domain.errors import DifferentContent, NoStock, SkuNotFound, StockLimit, VersionMismatch
from inventory_srv.domain.records import MovementKind, Stock
from tests.support.stock_changes import LATER, START, adjust, sell, set_stock, units, working_set_with


def test_set_stock_creates_the_sku() -> None:
    working_set = WorkingSet()

    stock = working_set.apply(set_stock("tea", 5), LATER)

    assert stock == Stock("tea", 5, 0, 1, LATER)
    assert working_set.new_stocks() == [stock]


def test_set_stock_sets_what_is_available_and_leaves_what_is_sold() -> None:
    working_set = working_set_with(tea=5)
    working_set.apply(sell("o1", ("tea", 2)), START)

    stock = working_set.apply(set_stock("tea", 9, request_id="r1", reason="counted"), LATER)

    assert stock == Stock("tea", 9, 2, 3, LATER)
    movement = working_set.movements[-1]
    assert (movement.kind, movement.delta, movement.available_after) == (MovementKind.SET, 6, 9)
    assert (movement.order_sn, movement.request_id, movement.reason) == (None, "r1", "counted")


def test_set_stock_to_what_it_is_already_is_still_in_the_ledger() -> None:
    working_set = working_set_with(tea=5)

    working_set.apply(set_stock("tea", 5), LATER)

    assert [movement.delta for movement in working_set.movements] == [0]


@pytest.mark.parametrize(("sku", "expected"), [("tea", 1), ("new", 0)])
def test_set_stock_at_the_expected_version_is_made(sku: str, expected: int) -> None:
    working_set = working_set_with(tea=5)

    assert working_set.apply(set_stock(sku, 7, expected=expected), LATER).available == 7


@pytest.mark.parametrize(("sku", "expected", "version"), [("tea", 2, 1), ("tea", 0, 1), ("new", 1, 0)])
def test_set_stock_at_another_version_is_refused(sku: str, expected: int, version: int) -> None:
    working_set = working_set_with(tea=5)

    with pytest.raises(VersionMismatch) as refused:
        working_set.apply(set_stock(sku, 7, expected=expected), LATER)

    assert refused.value.metadata == {"sku": sku, "expected_version": str(expected), "version": str(version)}


def test_adjust_adds_and_takes_away() -> None:
    working_set = working_set_with(tea=5)

    assert working_set.apply(adjust("tea", 4), START).available == 9
    stock = working_set.apply(adjust("tea", -9, request_id="r2", reason="broken"), LATER)

    assert stock == Stock("tea", 0, 0, 3, LATER)
    movement = working_set.movements[-1]
    assert (movement.kind, movement.delta, movement.available_after) == (MovementKind.ADJUST, -9, 0)
    assert (movement.order_sn, movement.request_id, movement.reason) == (None, "r2", "broken")


def test_adjust_never_goes_below_zero() -> None:
    working_set = working_set_with(tea=5)

    with pytest.raises(NoStock) as refused:
        working_set.apply(adjust("tea", -6), LATER)

    assert refused.value.metadata == {"sku": "tea", "asked": "6", "available": "5"}
    assert units(working_set, "tea") == (5, 0)


def test_adjust_of_an_unknown_sku_is_not_found() -> None:
    with pytest.raises(SkuNotFound):
        WorkingSet().apply(adjust("tea", 1), LATER)


def test_adjust_up_to_the_limit_is_made_and_beyond_it_refused() -> None:
    working_set = working_set_with(tea=5)

    assert working_set.apply(adjust("tea", LARGEST_AVAILABLE - 5), START).available == LARGEST_AVAILABLE
    with pytest.raises(StockLimit) as refused:
        working_set.apply(adjust("tea", 1), LATER)

    assert [(v.type, v.subject) for v in refused.value.violations] == [("STOCK_LIMIT", "tea")]


def test_adjust_may_take_from_a_stock_that_rebacks_brought_beyond_the_limit() -> None:
    working_set = working_set_with(tea=LARGEST_AVAILABLE + 10)

    assert working_set.apply(adjust("tea", -1), LATER).available == LARGEST_AVAILABLE + 9


@pytest.mark.parametrize("change", [set_stock("tea", 9, request_id="r"), adjust("tea", 4, request_id="r")])
def test_a_repeat_gives_the_first_stock_though_it_changed_since(change: SetStock | AdjustStock) -> None:
    working_set = working_set_with(tea=5)
    first = working_set.apply(change, START)
    working_set.apply(adjust("tea", -1), START)

    assert working_set.apply(change, LATER) == first
    assert working_set.stocks["tea"].available == first.available - 1


def test_a_repeat_gives_the_first_stock_though_the_expected_version_is_over() -> None:
    working_set = working_set_with(tea=5)
    change = set_stock("tea", 9, request_id="r", expected=1)
    first = working_set.apply(change, START)

    assert working_set.apply(change, LATER) == first


@pytest.mark.parametrize(
    "other",
    [
        set_stock("tea", 8, request_id="r"),
        set_stock("mug", 9, request_id="r"),
        set_stock("tea", 9, request_id="r", reason="guessed"),
        set_stock("tea", 9, request_id="r", expected=2),
        adjust("tea", 9, request_id="r", reason="counted"),
    ],
)
def test_the_same_request_id_with_another_content_is_refused(other: Change) -> None:
    working_set = working_set_with(tea=5, mug=5)
    working_set.apply(set_stock("tea", 9, request_id="r"), START)

    with pytest.raises(DifferentContent) as refused:
        working_set.apply(other, LATER)

    assert refused.value.metadata == {"request_id": "r"}


def test_a_refused_request_may_be_sent_again_with_its_id() -> None:
    working_set = working_set_with(tea=5)
    change = adjust("tea", -6, request_id="r")
    with pytest.raises(NoStock):
        working_set.apply(change, START)
    working_set.apply(adjust("tea", 1), START)

    assert working_set.apply(change, LATER).available == 0
