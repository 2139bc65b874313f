"""The stock writer and its lock: the lock spares the rows, the rows guard themselves."""

import time
from collections.abc import Callable, Collection
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from common.deadline import Deadline
from common.lock.local import LocalLock
from common.lock.port import HeldLock, Lock, LockLost, LockUnavailable
from inventory_srv.crash_points import CrashPoint
from inventory_srv.domain.errors import StockBusy
from inventory_srv.domain.records import SaleState
from tests.component.inventory.shop import Hold, open_shop, outcome_of, soon
from tests.support.locks import DRIVERS, own_lock
from tests.support.stock_changes import adjust, reback, sell, set_stock
from tests.support.waiting import wait_until

pytestmark = pytest.mark.usefixtures("engine")


def _unguarded() -> float:
    return REGISTRY.get_sample_value("reback_lock_unguarded_total") or 0.0


class SpiedLock(Lock):
    """A lock that notes what was asked of it, and whether it is held now."""

    def __init__(self, *, loses: bool = False) -> None:
        self.asked: list[set[str]] = []
        self.held = False
        self._loses = loses
        self._lock = LocalLock()

    def acquire(
        self,
        keys: Collection[str],
        deadline: Deadline,
        *,
        replacing: HeldLock | None = None,
        on_contended: Callable[[], None] | None = None,
    ) -> HeldLock:
        self.asked.append(set(keys))
        self.held = False
        held = self._lock.acquire(keys, deadline, replacing=replacing, on_contended=on_contended)
        self.held = True
        return held

    def release(self, held: HeldLock) -> None:
        self.held = False
        self._lock.release(held)
        if self._loses:
            raise LockLost("someone else may hold it by now")

    def close(self) -> None:
        self._lock.close()


def test_the_lock_has_a_key_for_each_sku_of_the_batch_and_of_a_sale_to_return(tmp_path: Path) -> None:
    lock = SpiedLock()
    with open_shop(tmp_path / "inventory.db", lock=lock, keep_lock=timedelta(0)) as shop:
        shop.stock_up(tea=5, mug=5)
        shop.carry_out(sell("o1", ("tea", 1), ("mug", 1)))
        shop.carry_out(adjust("tea", 1))
        shop.carry_out(reback("o1"))
        shop.carry_out(reback("never sold"))

    assert lock.asked[2:] == [
        {"lock:stock:mug", "lock:stock:tea"},
        {"lock:stock:tea"},
        {"lock:stock:mug", "lock:stock:tea"},
    ]


def test_pitfall_01_the_lock_is_held_until_the_commit(tmp_path: Path) -> None:
    lock = SpiedLock()
    held_at: dict[str, bool] = {}

    def crash_hook(point: str) -> None:
        held_at[point] = lock.held

    with open_shop(tmp_path / "inventory.db", lock=lock, crash_hook=crash_hook) as shop:
        shop.stock_up(tea=5)

    assert held_at == {
        CrashPoint.BATCH_TAKEN: False,
        CrashPoint.LOCK_HELD: True,
        CrashPoint.ROWS_HELD: True,
        CrashPoint.BATCH_BEFORE_COMMIT: True,
        CrashPoint.BATCH_COMMITTED: True,
        CrashPoint.CALLER_ANSWERED: True,
        CrashPoint.LOCK_RELEASED: False,
    }


def test_pitfall_01_a_row_written_by_another_since_it_was_read_is_never_overwritten(tmp_path: Path) -> None:
    """As if neither the lock nor the row lock had held: the row's version tells, and the batch is made again."""
    times_read: list[int] = []

    def crash_hook(point: str) -> None:
        if point == CrashPoint.ROWS_HELD:
            times_read.append(1)
            if len(times_read) == 2:  # the first is the stock's own
                shop.database.engine.execute_sql("UPDATE stock SET available = 1, version = 2 WHERE sku = 'tea'")

    with open_shop(tmp_path / "inventory.db", crash_hook=crash_hook) as shop:
        shop.stock_up(tea=5)

        shop.carry_out(sell("o1", ("tea", 2)))

        assert len(times_read) == 3
        assert shop.units("tea") == (3, 2)
        assert shop.differences() == []


def test_a_lost_lock_is_noted_and_its_batch_counts(tmp_path: Path) -> None:
    with open_shop(tmp_path / "inventory.db", lock=SpiedLock(loses=True), keep_lock=timedelta(0)) as shop:
        shop.stock_up(tea=5)

        assert shop.carry_out(sell("o1", ("tea", 2))).state is SaleState.SOLD
        assert shop.units("tea") == (3, 2)


def test_a_batch_that_does_not_get_its_lock_goes_on_guarded_by_its_rows(tmp_path: Path) -> None:
    """A holder that was killed keeps the lock until it expires; nobody's sales wait so long."""
    lock = LocalLock()
    with open_shop(tmp_path / "inventory.db", lock=lock, lock_timeout=timedelta(milliseconds=50)) as shop:
        shop.stock_up(tea=5)
        before = _unguarded()
        with lock.holding(["lock:stock:tea"], soon()):
            outcomes = shop.outcomes([sell("o1", ("tea", 2)), sell("o2", ("tea", 2)), sell("o3", ("tea", 2))])

        assert [getattr(outcome, "reason", "sold") for outcome in outcomes] == ["sold", "sold", "NO_STOCK"]
        assert shop.units("tea") == (1, 4)
        assert _unguarded() > before


def test_after_a_wait_in_vain_waits_for_any_key_are_short_for_a_while(tmp_path: Path) -> None:
    """Whoever hangs may hold many keys."""
    lock, timeout = LocalLock(), timedelta(seconds=0.5)
    skus = [f"tea{number}" for number in range(20)]
    with open_shop(tmp_path / "inventory.db", lock=lock, lock_timeout=timeout) as shop:
        shop.stock_up(tea=50, **dict.fromkeys(skus, 1))
        with lock.holding([f"lock:stock:{sku}" for sku in ("tea", *skus)], soon()):
            began = time.monotonic()
            for each, sku in enumerate(skus):
                shop.carry_out(sell(f"o{each}", ("tea", 1), (sku, 1)))
                shop.carry_out(sell(f"alone{each}", ("tea", 1)))
            took = time.monotonic() - began
        before = _unguarded()
        shop.carry_out(sell("o20", ("tea", 1)))

        assert took < 20 * timeout.total_seconds(), "each of 40 waits would have taken the whole timeout"
        assert _unguarded() == before
        assert shop.units("tea") == (9, 41)


class LockWithoutEngine(Lock):
    """As a driver is while its engine is down."""

    def acquire(self, *_: Any, **__: Any) -> HeldLock:
        raise LockUnavailable("the engine that keeps the lock can't be reached")

    def release(self, held: HeldLock) -> None:
        raise AssertionError("nothing was acquired")

    def close(self) -> None:
        pass


def test_while_the_locks_engine_is_down_changes_go_on_guarded_by_their_rows(tmp_path: Path) -> None:
    with open_shop(tmp_path / "inventory.db", lock=LockWithoutEngine()) as shop:
        before = _unguarded()
        shop.stock_up(tea=5)
        outcomes = [outcome_of(each) for each in shop.put([sell("o1", ("tea", 3)), sell("o2", ("tea", 3))])]

        assert [getattr(outcome, "reason", "sold") for outcome in outcomes] == ["sold", "NO_STOCK"]
        assert shop.units("tea") == (2, 3)
        assert _unguarded() >= before + 2


def test_told_to_refuse_nothing_is_changed_while_the_locks_engine_is_down(tmp_path: Path) -> None:
    with open_shop(tmp_path / "inventory.db", lock=LockWithoutEngine(), lock_outage="refuse") as shop:
        outcomes = shop.writer.carry_out_all([set_stock("tea", 5), sell("o1", ("tea", 1))], soon())

        assert [getattr(outcome, "reason", "") for outcome in outcomes] == ["LOCK_UNAVAILABLE"] * 2
        assert outcomes[0] is not outcomes[1], "raised in two threads, it would gather the tracebacks of both"
        assert list(shop.table("stock")) == []


def test_told_to_refuse_the_callers_are_told_that_the_lock_timed_out_and_nothing_is_sold(tmp_path: Path) -> None:
    lock, timeout = LocalLock(), timedelta(milliseconds=50)
    with open_shop(tmp_path / "inventory.db", lock=lock, lock_timeout=timeout, lock_outage="refuse") as shop:
        shop.stock_up(tea=5)
        with lock.holding(["lock:stock:tea"], soon()):
            outcomes = shop.outcomes([sell("o1", ("tea", 1)), sell("o2", ("tea", 1))])
            assert [type(outcome) for outcome in outcomes] == [StockBusy, StockBusy]
            assert outcomes[0].reason == "STOCK_BUSY"
            assert shop.carry_out(set_stock("mug", 1)).available == 1

        assert shop.units("tea") == (5, 0)
        assert shop.carry_out(sell("o1", ("tea", 1))).state is SaleState.SOLD


def test_pitfall_04_a_batch_waits_for_the_lock_no_longer_than_its_most_patient_caller(tmp_path: Path) -> None:
    lock = LocalLock()
    with open_shop(tmp_path / "inventory.db", lock=lock, lock_timeout=timedelta(seconds=20)) as shop:
        shop.stock_up(tea=5)
        with lock.holding(["lock:stock:tea"], soon()):
            future = shop.writer.put(sell("o1", ("tea", 1)), Deadline.after(0.1))
            assert isinstance(future.exception(10), StockBusy)


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("point", [CrashPoint.LOCK_HELD, CrashPoint.ROWS_HELD, CrashPoint.BATCH_COMMITTED])
def test_pitfall_04_a_batch_that_fails_gives_lock_and_rows_back_at_once(
    tmp_path: Path, driver: str, point: CrashPoint
) -> None:
    fails: list[str] = []

    def crash_hook(now: str) -> None:
        if now in fails:
            fails.remove(now)
            raise ZeroDivisionError

    file = tmp_path / "inventory.db"
    with own_lock(driver) as lock, open_shop(file, lock=lock, crash_hook=crash_hook) as one, open_shop(file) as other:
        one.stock_up(tea=5)
        fails.append(point)
        (outcome,) = one.outcomes([sell("o1", ("tea", 1))])
        assert isinstance(outcome, ZeroDivisionError)

        with lock.holding(["lock:stock:tea"], Deadline.after(0)):  # it is not kept then
            assert other.carry_out(sell("o2", ("tea", 1))).state is SaleState.SOLD
        assert one.carry_out(sell("o1", ("tea", 1))).state is SaleState.SOLD
        assert one.units("tea") == (3, 2)
        assert one.differences() == []


@pytest.mark.parametrize("first", [CrashPoint.LOCK_HELD, CrashPoint.ROWS_HELD])
def test_two_writers_that_share_a_lock_take_turns(tmp_path: Path, hold: Hold, first: CrashPoint) -> None:
    lock = LocalLock()
    file = tmp_path / "inventory.db"
    with open_shop(file, lock=lock, crash_hook=hold.crash_hook) as one, open_shop(file, lock=lock) as other:
        one.stock_up(tea=1)
        hold.arm(first)
        of_one = one.put([sell("o1", ("tea", 1))])
        hold.wait()
        of_other = other.put([sell("o2", ("tea", 1))])
        wait_until(of_other[0].running, "the other writer has taken its change")
        hold.let_go()

        assert outcome_of(of_one[0]).state is SaleState.SOLD
        assert outcome_of(of_other[0]).reason == "NO_STOCK"
        assert one.units("tea") == (0, 1)
