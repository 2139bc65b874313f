"""While the stock lock is kept its rows are known: what is sold out is refused from memory, and nothing else is."""

import gc
import weakref
from pathlib import Path

import pytest

from common.lock.port import Lock
from inventory_srv.crash_points import CrashPoint
from inventory_srv.domain.errors import NoStock
from inventory_srv.domain.records import SaleState
from tests.component.inventory.shop import FOR_LONG, Hold, Shop, open_shop, outcome_of
from tests.support.stock_changes import adjust, reback, sell, set_stock


@pytest.fixture
def shop(keeping_shop: Shop) -> Shop:
    return keeping_shop


def test_what_is_sold_out_is_refused_without_a_transaction(shop: Shop, hold: Hold) -> None:
    shop.carry_out(sell("o1", ("tea", 5)))
    first = shop.refusal_of("o2", ("tea", 1))
    transactions = hold.times[CrashPoint.ROWS_HELD]

    again = shop.refusal_of("o3", ("tea", 1))

    assert hold.times[CrashPoint.ROWS_HELD] == transactions
    assert isinstance(again, NoStock)
    assert (again.message, again.metadata, again.violations) == (first.message, first.metadata, first.violations)


def test_who_bought_the_last_gets_the_first_answer_again_though_it_is_sold_out(shop: Shop) -> None:
    sold = shop.carry_out(sell("o1", ("tea", 5)))
    shop.refusal_of("o2", ("tea", 1))

    assert shop.carry_out(sell("o1", ("tea", 5))) == sold
    shop.refusal_of("o3", ("tea", 1))
    assert shop.carry_out(sell("o1", ("tea", 5))) == sold


def test_who_bought_since_it_was_nearly_sold_out_gets_the_first_answer_again(shop: Shop) -> None:
    shop.refusal_of("o1", ("tea", 6))
    sold = shop.carry_out(sell("o2", ("tea", 5)))
    shop.refusal_of("o3", ("tea", 6))

    assert shop.carry_out(sell("o2", ("tea", 5))) == sold


def test_every_short_sku_is_named_and_one_that_is_not_known_is_looked_up(shop: Shop) -> None:
    shop.carry_out(sell("o1", ("mug", 5), ("tea", 5)))
    for order_sn in ("o2", "o3"):
        refusal = shop.refusal_of(order_sn, ("mug", 1), ("tea", 2))
        assert [violation.subject for violation in refusal.violations] == ["mug", "tea"]
        assert shop.refusal_of(order_sn, ("pot", 1), ("tea", 2)).reason == "SKU_NOT_FOUND"


@pytest.mark.parametrize("restock", ["reback", "adjust", "set"])
def test_what_comes_back_can_be_sold_at_once(shop: Shop, restock: str) -> None:
    shop.carry_out(sell("o1", ("tea", 5)))
    for order_sn in ("o2", "o3"):
        shop.refusal_of(order_sn, ("tea", 1))

    if restock == "reback":
        shop.carry_out(reback("o1"))
    else:
        shop.carry_out(adjust("tea", 5) if restock == "adjust" else set_stock("tea", 5))

    assert shop.carry_out(sell("o4", ("tea", 5))).state is SaleState.SOLD
    assert shop.differences() == []


def test_what_another_replica_gives_back_can_be_sold_here_at_once(shop: Shop, lock: Lock, tmp_path: Path) -> None:
    shop.carry_out(sell("o1", ("tea", 5)))
    for order_sn in ("o2", "o3"):
        shop.refusal_of(order_sn, ("tea", 1))
    with open_shop(tmp_path / "inventory.db", lock=lock, keep_lock=FOR_LONG) as other:
        other.carry_out(reback("o1"))
        assert shop.carry_out(sell("o4", ("tea", 5))).state is SaleState.SOLD
        assert other.refusal_of("o5", ("tea", 1)).reason == "NO_STOCK"
        assert other.differences() == []


def test_a_repeat_and_a_row_that_another_changed_are_found_out_though_the_rows_were_known(
    shop: Shop, tmp_path: Path
) -> None:
    """The other has a lock of its own: it is as if this one's were lost and nobody had noticed."""
    sold = shop.carry_out(sell("o1", ("tea", 1)))
    with open_shop(tmp_path / "inventory.db") as other:
        assert other.carry_out(sell("o2", ("tea", 4))).state is SaleState.SOLD

    assert shop.carry_out(sell("o1", ("tea", 1))) == sold
    assert shop.refusal_of("o3", ("tea", 1)).reason == "NO_STOCK"
    assert shop.units("tea") == (0, 5)
    assert shop.differences() == []


def test_one_row_that_another_changed_lets_all_that_was_known_be_forgotten(shop: Shop, tmp_path: Path) -> None:
    shop.carry_out(sell("o1", ("mug", 5), ("tea", 1)))
    shop.refusal_of("o2", ("mug", 1))
    with open_shop(tmp_path / "inventory.db") as other:  # with a lock of its own, as above
        other.carry_out(reback("o1"))

    assert shop.carry_out(sell("o3", ("tea", 1))).state is SaleState.SOLD  # of a row that is not as it was known
    assert shop.carry_out(sell("o4", ("mug", 1))).state is SaleState.SOLD
    assert shop.differences() == []


def test_a_batch_that_failed_leaves_nothing_in_memory(engine: str, tmp_path: Path) -> None:
    fails: list[str] = []

    def crash_hook(point: str) -> None:
        if point in fails:
            fails.remove(point)
            raise ZeroDivisionError

    with open_shop(tmp_path / "inventory.db", crash_hook=crash_hook, keep_lock=FOR_LONG) as shop:
        shop.stock_up(tea=5)
        shop.carry_out(sell("o1", ("tea", 1)))
        fails.append(CrashPoint.BATCH_BEFORE_COMMIT)
        assert isinstance(outcome_of(shop.put([sell("o2", ("tea", 4))])[0]), ZeroDivisionError)

        assert shop.carry_out(sell("o3", ("tea", 4))).state is SaleState.SOLD
        assert shop.units("tea") == (0, 5)


@pytest.mark.parametrize("from_memory", [False, True])
def test_a_refusal_leaves_nothing_for_the_garbage_collector(shop: Shop, *, from_memory: bool) -> None:
    shop.carry_out(sell("o1", ("tea", 5)))
    if from_memory:
        shop.refusal_of("o2", ("tea", 1))

    def refused() -> "weakref.ref[NoStock]":
        with pytest.raises(NoStock) as raised:
            shop.carry_out(sell("o3", ("tea", 1)))
        refusal = weakref.ref(raised.value)
        del raised
        return refusal

    gc.disable()
    try:
        refusal = refused()
        shop.carry_out(adjust("mug", 1))  # the writer has let go of its last batch
        assert refusal() is None
    finally:
        gc.enable()
