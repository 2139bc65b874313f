"""The stock lock is kept while nobody else wants it, and then its rows are known: not a word more than needed."""

from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from common.lock.port import HeldLock, Lock
from inventory_srv.adapters import stock_lease
from inventory_srv.adapters.stock_lease import StockLease
from inventory_srv.adapters.stock_repository import Repository
from inventory_srv.crash_points import CrashPoint
from inventory_srv.domain.changes import Change
from inventory_srv.domain.errors import NoStock
from inventory_srv.domain.records import SaleState
from inventory_srv.use_cases.stock_writer import StockWriter
from tests.component.inventory.shop import FOR_LONG, Hold, Shop, open_shop, outcome_of, soon
from tests.support.stock_changes import adjust, reback, sell
from tests.support.waiting import TIMEOUT_S, wait_until


@pytest.fixture
def shop(keeping_shop: Shop) -> Shop:
    return keeping_shop


def test_a_kept_lock_is_given_back_as_soon_as_somebody_wants_it(shop: Shop, lock: Lock, hold: Hold) -> None:
    shop.carry_out(sell("o1", ("tea", 1)))
    assert not hold.times[CrashPoint.LOCK_RELEASED]
    with lock.holding(["lock:stock:tea"], soon()):
        wait_until(lambda: hold.times[CrashPoint.LOCK_RELEASED] == 1, "it says so")


def test_a_kept_lock_is_given_back_though_somebody_wants_it_just_as_its_holder_falls_asleep(
    shop: Shop, lock: Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asleep_for, wake_up, woken = StockLease.spare_time, StockWriter._wake_up, Event()

    def woke_up(writer: StockWriter) -> None:
        wake_up(writer)
        woken.set()

    def fall_asleep(lease: StockLease) -> float | None:
        seconds = asleep_for(lease)
        if seconds and not theirs:
            theirs.append(another.submit(lock.acquire, ["lock:stock:tea"], soon()))
            woken.wait(0.1)  # in vain, as it should be: who would wake up a sleeper has to wait until it sleeps
        return seconds

    theirs: list[Future[HeldLock]] = []
    with ThreadPoolExecutor() as another:
        monkeypatch.setattr(StockWriter, "_wake_up", woke_up)
        monkeypatch.setattr(StockLease, "spare_time", fall_asleep)
        shop.carry_out(sell("o1", ("tea", 1)))
        wait_until(lambda: bool(theirs), "its holder falls asleep")
        lock.release(theirs[0].result(TIMEOUT_S))


class Contended:
    """A shop that is in the middle of a batch when another begins to wait for its lock.

    Args:
        lock: Of both.
        monkeypatch: Notes what the lock says.
    """

    def __init__(self, lock: Lock, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hold = Hold()
        self._lock = lock
        self._acquire = lock.acquire
        self._acquired: list[HeldLock] = []
        monkeypatch.setattr(lock, "acquire", self._note)

    def _note(self, *asked: Any, **further: Any) -> HeldLock:
        self._acquired.append(self._acquire(*asked, **further))
        return self._acquired[-1]

    def begin(self, shop: Shop, change: Change, another: ThreadPoolExecutor) -> tuple[Any, "Future[HeldLock]"]:
        """The answer to be of a change that is held with its rows, and the lock to be of who waits for it."""
        self.hold.arm(CrashPoint.ROWS_HELD)
        [answering] = shop.put([change])
        self.hold.wait()
        theirs = another.submit(self._acquire, ["lock:stock:tea"], soon())
        wait_until(lambda: self._acquired[-1].contended, "the writer is told that its lock is contended")
        return answering, theirs


@pytest.fixture
def contended(lock: Lock, monkeypatch: pytest.MonkeyPatch) -> Contended:
    return Contended(lock, monkeypatch)


def test_a_lock_that_another_wants_is_given_back_after_its_batch_before_callers_are_told(
    engine: str, tmp_path: Path, lock: Lock, contended: Contended
) -> None:
    answering = Hold()

    def crash_hook(point: str) -> None:
        contended.hold.crash_hook(point)
        answering.crash_hook(point)

    with (
        open_shop(tmp_path / "inventory.db", lock=lock, crash_hook=crash_hook, keep_lock=FOR_LONG) as shop,
        ThreadPoolExecutor() as another,
    ):
        shop.stock_up(tea=5)
        first, theirs = contended.begin(shop, sell("o1", ("tea", 1)), another)
        [second] = shop.put([sell("o2", ("tea", 1))])
        answering.arm(CrashPoint.CALLER_ANSWERED)
        contended.hold.let_go()

        held = theirs.result(TIMEOUT_S)
        answering.wait()
        assert shop.units("tea") == (4, 1)
        lock.release(held)
        answering.let_go()
        assert [outcome_of(each).state for each in (first, second)] == [SaleState.SOLD] * 2


def test_a_lock_that_another_wants_is_kept_for_its_time_while_changes_are_made_one_by_one(
    engine: str, tmp_path: Path, lock: Lock, contended: Contended, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stock_lease, "_SLICE", TIMEOUT_S)
    with (
        open_shop(
            tmp_path / "inventory.db", lock=lock, crash_hook=contended.hold.crash_hook, keep_lock=FOR_LONG, batch=1
        ) as shop,
        ThreadPoolExecutor() as another,
    ):
        shop.stock_up(tea=5)
        first, theirs = contended.begin(shop, sell("o1", ("tea", 1)), another)
        rest = shop.put([sell("o2", ("tea", 1)), sell("o3", ("tea", 1))])
        contended.hold.let_go()

        held = theirs.result(TIMEOUT_S)
        assert all(each.done() for each in (first, *rest))
        assert shop.units("tea") == (2, 3)
        lock.release(held)


def test_a_lock_that_another_wants_is_kept_for_its_time_while_it_refuses_what_is_sold_out(
    engine: str, tmp_path: Path, lock: Lock, contended: Contended, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stock_lease, "_SLICE", TIMEOUT_S)
    monkeypatch.setattr(stock_lease, "_BUSY_REFUSING", TIMEOUT_S)
    monkeypatch.setattr(stock_lease, "_TRUSTED", TIMEOUT_S)
    hold = contended.hold
    with ThreadPoolExecutor() as another:
        with open_shop(tmp_path / "inventory.db", lock=lock, crash_hook=hold.crash_hook, keep_lock=FOR_LONG) as shop:
            shop.stock_up(tea=0)
            refused, theirs = contended.begin(shop, sell("o1", ("tea", 1)), another)
            hold.let_go()
            assert isinstance(outcome_of(refused), NoStock)
            transactions = hold.times[CrashPoint.ROWS_HELD]

            assert shop.refusal_of("o2", ("tea", 1)).reason == "NO_STOCK"

            assert hold.times[CrashPoint.ROWS_HELD] == transactions
        lock.release(theirs.result(TIMEOUT_S))


def test_buyers_that_are_too_many_to_keep_are_not_looked_for_each_time_the_lock_is_had(
    shop: Shop, lock: Lock, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    look_up = Repository.buyers

    def counted(repository: Repository, sku: str, limit: int) -> set[str]:
        looked.append(sku)
        return look_up(repository, sku, limit)

    monkeypatch.setattr(Repository, "buyers", counted)
    monkeypatch.setattr(stock_lease, "_MOST_BUYERS", 1)
    monkeypatch.setattr(stock_lease, "_LOOK_AGAIN", TIMEOUT_S)
    shop.carry_out(sell("o1", ("tea", 4)))
    shop.carry_out(sell("o2", ("tea", 1)))
    for order_sn in ("o3", "o4"):
        shop.refusal_of(order_sn, ("tea", 1))
        with lock.holding(["lock:stock:tea"], soon()):
            pass
    assert looked == ["tea"]


def test_who_leaves_while_a_batch_waits_for_its_lock_does_not_join_it(shop: Shop, lock: Lock, hold: Hold) -> None:
    before = hold.times[CrashPoint.BATCH_TAKEN]
    with lock.holding(["lock:stock:tea"], soon()):
        first = shop.put([sell("o1", ("tea", 1))])
        wait_until(lambda: hold.times[CrashPoint.BATCH_TAKEN] > before, "it waits for the lock")
        left, stays = shop.put([sell("o2", ("tea", 1)), sell("o3", ("tea", 1))])
        assert left.cancel()

    assert [outcome_of(each).state for each in (*first, stays)] == [SaleState.SOLD] * 2
    assert shop.units("tea") == (3, 2)


def test_a_batch_that_fails_is_made_one_by_one_though_more_waits(engine: str, tmp_path: Path) -> None:
    begun, writes, fails = Hold(), Hold(), [CrashPoint.BATCH_BEFORE_COMMIT]

    def crash_hook(point: str) -> None:
        begun.crash_hook(point)
        writes.crash_hook(point)
        if len(batch) == 2 and point in fails:
            fails.remove(CrashPoint.BATCH_BEFORE_COMMIT)
            raise ZeroDivisionError

    batch: list[Any] = []
    with open_shop(tmp_path / "inventory.db", crash_hook=crash_hook, keep_lock=FOR_LONG) as shop:
        shop.stock_up(tea=5)
        begun.arm(CrashPoint.BATCH_TAKEN)
        batch += shop.put([sell("o1", ("tea", 1))])
        begun.wait()
        batch += shop.put([sell("o2", ("tea", 1))])
        writes.arm(CrashPoint.BATCH_BEFORE_COMMIT)
        begun.let_go()
        writes.wait()
        waiting = shop.put([sell("o3", ("tea", 1)), sell("o4", ("tea", 1))])
        writes.let_go()

        assert [outcome_of(each).state for each in batch + waiting] == [SaleState.SOLD] * 4
        assert fails == []
        assert shop.units("tea") == (1, 4)


@pytest.mark.parametrize(
    ("later", "batches"),
    [
        ([sell("o3", ("tea", 1)), adjust("tea", 2)], 1),
        ([sell("o3", ("tea", 1)), sell("o4", ("mug", 1)), sell("o5", ("tea", 1))], 2),
        ([reback("o1"), sell("o3", ("tea", 1))], 2),
    ],
    ids=["of the same sku", "of another sku", "of a sale yet to be looked up"],
)
def test_what_comes_while_a_batch_waits_for_its_lock_joins_it_as_far_as_the_lock_goes(
    shop: Shop, lock: Lock, hold: Hold, later: list[Change], batches: int
) -> None:
    shop.carry_out(sell("o1", ("tea", 1)))
    before = hold.times[CrashPoint.BATCH_COMMITTED]
    with lock.holding(["lock:stock:tea"], soon()):
        changes = shop.put([sell("o2", ("tea", 1))])
        wait_until(lambda: hold.times[CrashPoint.BATCH_TAKEN] > before, "it waits for the lock")
        changes += shop.put(later)

    assert [error for error in map(outcome_of, changes) if isinstance(error, Exception)] == []
    assert hold.times[CrashPoint.BATCH_COMMITTED] == before + batches
    assert shop.differences() == []


def test_a_kept_lock_is_given_back_when_there_was_nothing_to_do_for_a_while(
    engine: str, tmp_path: Path, hold: Hold
) -> None:
    with open_shop(tmp_path / "inventory.db", crash_hook=hold.crash_hook, keep_lock=timedelta(milliseconds=50)) as shop:
        shop.stock_up(tea=5)
        wait_until(lambda: hold.times[CrashPoint.LOCK_RELEASED] == 1, "it is given back")
