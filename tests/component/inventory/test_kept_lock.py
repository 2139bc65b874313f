"""The stock lock is kept while nobody else wants it, and then its rows are known: not a word more than needed."""

import gc
import weakref
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from common.errors import DomainError
from common.lock.port import Held, Lock
from inventory_srv import stock_lease
from inventory_srv.changes import Change
from inventory_srv.crash_points import CrashPoint
from inventory_srv.records import SaleState
from inventory_srv.refusals import NoStock
from inventory_srv.repository import Repository
from tests.component.inventory.shop import PATIENCE, Hold, Shop, open_shop, outcome_of, soon, wait_until
from tests.locks import DRIVERS, own_lock
from tests.unit.inventory.sheets import adjust, reback, sell, set_stock

FOR_LONG = timedelta(minutes=10)


class Passed:
    """Counts the crash points that were passed."""

    def __init__(self) -> None:
        self.times: Counter[str] = Counter()

    def reached(self, point: str) -> None:
        self.times[point] += 1


@pytest.fixture(params=DRIVERS)
def lock(request: pytest.FixtureRequest) -> Iterator[Lock]:
    with own_lock(request.param) as made:
        yield made


@pytest.fixture
def passed() -> Passed:
    return Passed()


@pytest.fixture
def shop(engine: str, tmp_path: Path, lock: Lock, passed: Passed) -> Iterator[Shop]:
    with open_shop(tmp_path / "inventory.db", lock=lock, reached=passed.reached, keep_lock=FOR_LONG) as made:
        made.stock_up(tea=5, mug=5)
        yield made


def refusal_of(shop: Shop, order_sn: str, *lines: tuple[str, int]) -> DomainError:
    with pytest.raises(DomainError) as raised:
        shop.carry_out(sell(order_sn, *lines))
    return raised.value


def test_a_kept_lock_is_given_back_as_soon_as_somebody_wants_it(shop: Shop, lock: Lock, passed: Passed) -> None:
    shop.carry_out(sell("o1", ("tea", 1)))
    assert not passed.times[CrashPoint.LOCK_RELEASED]
    with lock.holding(["lock:stock:tea"], soon()):
        wait_until(lambda: passed.times[CrashPoint.LOCK_RELEASED] == 1, "it says so")


class Contended:
    """A shop that is in the middle of a batch when another begins to wait for its lock.

    Args:
        lock: Of both.
        monkeypatch: Notes what the lock says.
    """

    def __init__(self, lock: Lock, monkeypatch: pytest.MonkeyPatch) -> None:
        self.hold = Hold()
        self._lock = lock
        self._take = lock.take
        self._taken: list[Held] = []
        monkeypatch.setattr(lock, "take", self._note)

    def _note(self, *asked: Any, **further: Any) -> Held:
        self._taken.append(self._take(*asked, **further))
        return self._taken[-1]

    def begin(self, shop: Shop, change: Change, another: ThreadPoolExecutor) -> tuple[Any, "Future[Held]"]:
        """The answer to be of a change that is held with its rows, and the lock to be of who waits for it."""
        self.hold.arm(CrashPoint.ROWS_HELD)
        [answer] = shop.put([change])
        self.hold.wait()
        theirs = another.submit(self._take, ["lock:stock:tea"], soon())
        wait_until(lambda: self._taken[-1].wanted, "the writer is told that its lock is wanted")
        return answer, theirs


@pytest.fixture
def contended(lock: Lock, monkeypatch: pytest.MonkeyPatch) -> Contended:
    return Contended(lock, monkeypatch)


def test_a_lock_that_another_wants_is_given_back_after_its_batch_before_callers_are_told(
    engine: str, tmp_path: Path, lock: Lock, contended: Contended
) -> None:
    told = Hold()

    def reached(point: str) -> None:
        contended.hold.reached(point)
        told.reached(point)

    with (
        open_shop(tmp_path / "inventory.db", lock=lock, reached=reached, keep_lock=FOR_LONG) as shop,
        ThreadPoolExecutor() as another,
    ):
        shop.stock_up(tea=5)
        first, theirs = contended.begin(shop, sell("o1", ("tea", 1)), another)
        [second] = shop.put([sell("o2", ("tea", 1))])
        told.arm(CrashPoint.CALLER_ANSWERED)
        contended.hold.let_go()

        held = theirs.result(PATIENCE)
        told.wait()
        assert shop.units("tea") == (4, 1)
        lock.give_back(held)
        told.let_go()
        assert [outcome_of(each).state for each in (first, second)] == [SaleState.SOLD] * 2


def test_a_lock_that_another_wants_is_kept_for_its_time_while_changes_are_made_one_by_one(
    engine: str, tmp_path: Path, lock: Lock, contended: Contended, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stock_lease, "_SLICE", PATIENCE)
    with (
        open_shop(
            tmp_path / "inventory.db", lock=lock, reached=contended.hold.reached, keep_lock=FOR_LONG, batch=1
        ) as shop,
        ThreadPoolExecutor() as another,
    ):
        shop.stock_up(tea=5)
        first, theirs = contended.begin(shop, sell("o1", ("tea", 1)), another)
        rest = shop.put([sell("o2", ("tea", 1)), sell("o3", ("tea", 1))])
        contended.hold.let_go()

        held = theirs.result(PATIENCE)
        assert all(each.done() for each in (first, *rest))
        assert shop.units("tea") == (2, 3)
        lock.give_back(held)


def test_a_lock_that_another_wants_is_kept_for_its_time_while_it_refuses_what_is_sold_out(
    engine: str, tmp_path: Path, lock: Lock, contended: Contended, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = Passed()
    monkeypatch.setattr(stock_lease, "_SLICE", PATIENCE)
    monkeypatch.setattr(stock_lease, "_BUSY_REFUSING", PATIENCE)
    monkeypatch.setattr(stock_lease, "_TRUSTED", PATIENCE)

    def reached(point: str) -> None:
        passed.reached(point)
        contended.hold.reached(point)

    with ThreadPoolExecutor() as another:
        with open_shop(tmp_path / "inventory.db", lock=lock, reached=reached, keep_lock=FOR_LONG) as shop:
            shop.stock_up(tea=0)
            refused, theirs = contended.begin(shop, sell("o1", ("tea", 1)), another)
            contended.hold.let_go()
            assert isinstance(outcome_of(refused), NoStock)
            transactions = passed.times[CrashPoint.ROWS_HELD]

            assert refusal_of(shop, "o2", ("tea", 1)).reason == "NO_STOCK"

            assert passed.times[CrashPoint.ROWS_HELD] == transactions
        lock.give_back(theirs.result(PATIENCE))


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
    monkeypatch.setattr(stock_lease, "_LOOK_AGAIN", PATIENCE)
    shop.carry_out(sell("o1", ("tea", 4)))
    shop.carry_out(sell("o2", ("tea", 1)))
    for order_sn in ("o3", "o4"):
        refusal_of(shop, order_sn, ("tea", 1))
        with lock.holding(["lock:stock:tea"], soon()):
            pass
    assert looked == ["tea"]


def test_who_leaves_while_a_batch_waits_for_its_lock_does_not_join_it(shop: Shop, lock: Lock, passed: Passed) -> None:
    before = passed.times[CrashPoint.BATCH_TAKEN]
    with lock.holding(["lock:stock:tea"], soon()):
        first = shop.put([sell("o1", ("tea", 1))])
        wait_until(lambda: passed.times[CrashPoint.BATCH_TAKEN] > before, "it waits for the lock")
        left, stays = shop.put([sell("o2", ("tea", 1)), sell("o3", ("tea", 1))])
        assert left.cancel()

    assert [outcome_of(each).state for each in (*first, stays)] == [SaleState.SOLD] * 2
    assert shop.units("tea") == (3, 2)


def test_a_batch_that_fails_is_made_one_by_one_though_more_waits(engine: str, tmp_path: Path) -> None:
    begun, written, fails = Hold(), Hold(), [CrashPoint.BATCH_WRITTEN]

    def reached(point: str) -> None:
        begun.reached(point)
        written.reached(point)
        if len(batch) == 2 and point in fails:
            fails.remove(CrashPoint.BATCH_WRITTEN)
            raise ZeroDivisionError

    batch: list[Any] = []
    with open_shop(tmp_path / "inventory.db", reached=reached, keep_lock=FOR_LONG) as shop:
        shop.stock_up(tea=5)
        begun.arm(CrashPoint.BATCH_TAKEN)
        batch += shop.put([sell("o1", ("tea", 1))])
        begun.wait()
        batch += shop.put([sell("o2", ("tea", 1))])
        written.arm(CrashPoint.BATCH_WRITTEN)
        begun.let_go()
        written.wait()
        waiting = shop.put([sell("o3", ("tea", 1)), sell("o4", ("tea", 1))])
        written.let_go()

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
    shop: Shop, lock: Lock, passed: Passed, later: list[Change], batches: int
) -> None:
    shop.carry_out(sell("o1", ("tea", 1)))
    before = passed.times[CrashPoint.BATCH_COMMITTED]
    with lock.holding(["lock:stock:tea"], soon()):
        changes = shop.put([sell("o2", ("tea", 1))])
        wait_until(lambda: passed.times[CrashPoint.BATCH_TAKEN] > before, "it waits for the lock")
        changes += shop.put(later)

    assert [error for error in map(outcome_of, changes) if isinstance(error, Exception)] == []
    assert passed.times[CrashPoint.BATCH_COMMITTED] == before + batches
    assert shop.differences() == []


def test_a_kept_lock_is_given_back_when_there_was_nothing_to_do_for_a_while(
    engine: str, tmp_path: Path, passed: Passed
) -> None:
    with open_shop(tmp_path / "inventory.db", reached=passed.reached, keep_lock=timedelta(milliseconds=50)) as shop:
        shop.stock_up(tea=5)
        wait_until(lambda: passed.times[CrashPoint.LOCK_RELEASED] == 1, "it is given back")


def test_what_is_sold_out_is_refused_without_a_transaction(shop: Shop, passed: Passed) -> None:
    shop.carry_out(sell("o1", ("tea", 5)))
    first = refusal_of(shop, "o2", ("tea", 1))
    transactions = passed.times[CrashPoint.ROWS_HELD]

    again = refusal_of(shop, "o3", ("tea", 1))

    assert passed.times[CrashPoint.ROWS_HELD] == transactions
    assert isinstance(again, NoStock)
    assert (again.message, again.metadata, again.violations) == (first.message, first.metadata, first.violations)


def test_who_bought_the_last_gets_the_first_answer_again_though_it_is_sold_out(shop: Shop) -> None:
    sold = shop.carry_out(sell("o1", ("tea", 5)))
    refusal_of(shop, "o2", ("tea", 1))

    assert shop.carry_out(sell("o1", ("tea", 5))) == sold
    refusal_of(shop, "o3", ("tea", 1))
    assert shop.carry_out(sell("o1", ("tea", 5))) == sold


def test_who_bought_since_it_was_nearly_sold_out_gets_the_first_answer_again(shop: Shop) -> None:
    refusal_of(shop, "o1", ("tea", 6))
    sold = shop.carry_out(sell("o2", ("tea", 5)))
    refusal_of(shop, "o3", ("tea", 6))

    assert shop.carry_out(sell("o2", ("tea", 5))) == sold


def test_every_short_sku_is_named_and_one_that_is_not_known_is_looked_up(shop: Shop) -> None:
    shop.carry_out(sell("o1", ("mug", 5), ("tea", 5)))
    for order_sn in ("o2", "o3"):
        refusal = refusal_of(shop, order_sn, ("mug", 1), ("tea", 2))
        assert [violation.subject for violation in refusal.violations] == ["mug", "tea"]
        assert refusal_of(shop, order_sn, ("pot", 1), ("tea", 2)).reason == "SKU_NOT_FOUND"


@pytest.mark.parametrize("restock", ["reback", "adjust", "set"])
def test_what_comes_back_can_be_sold_at_once(shop: Shop, restock: str) -> None:
    shop.carry_out(sell("o1", ("tea", 5)))
    for order_sn in ("o2", "o3"):
        refusal_of(shop, order_sn, ("tea", 1))

    if restock == "reback":
        shop.carry_out(reback("o1"))
    else:
        shop.carry_out(adjust("tea", 5) if restock == "adjust" else set_stock("tea", 5))

    assert shop.carry_out(sell("o4", ("tea", 5))).state is SaleState.SOLD
    assert shop.differences() == []


def test_what_another_replica_gives_back_can_be_sold_here_at_once(shop: Shop, lock: Lock, tmp_path: Path) -> None:
    shop.carry_out(sell("o1", ("tea", 5)))
    for order_sn in ("o2", "o3"):
        refusal_of(shop, order_sn, ("tea", 1))
    with open_shop(tmp_path / "inventory.db", lock=lock, keep_lock=FOR_LONG) as other:
        other.carry_out(reback("o1"))
        assert shop.carry_out(sell("o4", ("tea", 5))).state is SaleState.SOLD
        assert refusal_of(other, "o5", ("tea", 1)).reason == "NO_STOCK"
        assert other.differences() == []


def test_a_repeat_and_a_row_that_another_changed_are_found_out_though_the_rows_were_known(
    shop: Shop, tmp_path: Path
) -> None:
    """The other has a lock of its own: it is as if this one's were lost and nobody had noticed."""
    sold = shop.carry_out(sell("o1", ("tea", 1)))
    with open_shop(tmp_path / "inventory.db") as other:
        assert other.carry_out(sell("o2", ("tea", 4))).state is SaleState.SOLD

    assert shop.carry_out(sell("o1", ("tea", 1))) == sold
    assert refusal_of(shop, "o3", ("tea", 1)).reason == "NO_STOCK"
    assert shop.units("tea") == (0, 5)
    assert shop.differences() == []


def test_a_batch_that_failed_leaves_nothing_in_memory(engine: str, tmp_path: Path) -> None:
    fails: list[str] = []

    def reached(point: str) -> None:
        if point in fails:
            fails.remove(point)
            raise ZeroDivisionError

    with open_shop(tmp_path / "inventory.db", reached=reached, keep_lock=FOR_LONG) as shop:
        shop.stock_up(tea=5)
        shop.carry_out(sell("o1", ("tea", 1)))
        fails.append(CrashPoint.BATCH_WRITTEN)
        assert isinstance(outcome_of(shop.put([sell("o2", ("tea", 4))])[0]), ZeroDivisionError)

        assert shop.carry_out(sell("o3", ("tea", 4))).state is SaleState.SOLD
        assert shop.units("tea") == (0, 5)


@pytest.mark.parametrize("from_memory", [False, True])
def test_a_refusal_leaves_nothing_for_the_garbage_collector(shop: Shop, *, from_memory: bool) -> None:
    shop.carry_out(sell("o1", ("tea", 5)))
    if from_memory:
        refusal_of(shop, "o2", ("tea", 1))

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
