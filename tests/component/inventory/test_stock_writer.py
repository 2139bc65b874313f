"""The stock writer on a real database: what it merges, whom it answers, what it drops."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any

import pytest

from common.deadline import Deadline
from common.errors import DeadlineExceeded, Unavailable
from inventory_srv.crash_points import CrashPoint
from inventory_srv.domain.changes import Sell, WorkingSet
from inventory_srv.domain.errors import NoStock, QueueFull
from inventory_srv.domain.records import SaleState
from tests.component.inventory.shop import Hold, Shop, open_shop, outcome_of, soon
from tests.support.stock_changes import reback, sell, set_stock
from tests.support.waiting import TIMEOUT_S, wait_until

pytestmark = pytest.mark.usefixtures("engine")

ONE_TEA = ("tea", 1)


def test_a_change_is_answered_when_it_is_committed(shop: Shop) -> None:
    shop.stock_up(tea=5)

    sale = shop.carry_out(sell("o1", ("tea", 2)))

    assert sale == shop.queries.get_sale("o1")
    assert shop.units("tea") == (3, 2)


@pytest.mark.parametrize(("batch", "transactions"), [(256, 1), (20, 2), (1, 40)])
def test_what_waits_is_merged_up_to_a_batch(tmp_path: Path, batch: int, transactions: int) -> None:
    hold = Hold()
    with open_shop(tmp_path / "inventory.db", crash_hook=hold.crash_hook, batch=batch) as shop:
        shop.stock_up(tea=100)
        hold.arm(CrashPoint.ROWS_HELD)
        first = shop.put([sell("first", ONE_TEA)])
        hold.wait()
        rest = shop.put([sell(f"o{n}", ONE_TEA) for n in range(40)])
        hold.times.clear()
        hold.let_go()

        assert all(outcome_of(future).state is SaleState.SOLD for future in first + rest)
        assert hold.times[CrashPoint.BATCH_COMMITTED] == 1 + transactions
        assert shop.units("tea") == (59, 41)


def test_an_idle_writer_does_not_wait_for_more(tmp_path: Path) -> None:
    hold = Hold()
    with open_shop(tmp_path / "inventory.db", crash_hook=hold.crash_hook) as shop:
        shop.stock_up(tea=5)
        hold.times.clear()
        for n in range(3):
            shop.carry_out(sell(f"o{n}", ONE_TEA))
        assert hold.times[CrashPoint.BATCH_TAKEN] == 3


def test_one_bad_change_among_256_fails_alone(shop: Shop, hold: Hold) -> None:
    shop.stock_up(tea=255, pot=0)
    changes = [sell(f"o{n}", ONE_TEA) for n in range(255)]
    changes.insert(100, sell("bad", ONE_TEA, ("pot", 1)))

    outcomes = shop.outcomes(changes)

    bad = outcomes.pop(100)
    assert isinstance(bad, NoStock)
    assert [violation.subject for violation in bad.violations] == ["pot"]
    assert all(sale.state is SaleState.SOLD for sale in outcomes)
    assert shop.units("tea") == (0, 255)
    assert shop.differences() == []


def test_a_bug_in_one_change_is_its_callers_alone(shop: Shop, hold: Hold, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.stock_up(tea=10)
    as_it_is = WorkingSet.apply

    def apply_with_a_bug(working_set: WorkingSet, change: Any, now: Any) -> Any:
        if isinstance(change, Sell) and change.order_sn == "bad":
            raise ZeroDivisionError("a bug")
        return as_it_is(working_set, change, now)

    monkeypatch.setattr(WorkingSet, "apply", apply_with_a_bug)
    hold.arm(CrashPoint.BATCH_TAKEN)
    futures = shop.put([sell("o0", ONE_TEA)])
    hold.wait()
    futures += shop.put([sell("o1", ONE_TEA), sell("bad", ONE_TEA), sell("o2", ONE_TEA)])
    hold.let_go()

    outcomes = [outcome_of(future) for future in futures]
    assert isinstance(outcomes.pop(2), ZeroDivisionError)
    assert all(sale.state is SaleState.SOLD for sale in outcomes)
    assert shop.units("tea") == (7, 3)


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_row_that_the_database_refuses_fails_alone(shop: Shop, hold: Hold) -> None:
    shop.stock_up(tea=10)
    with shop.database.reading():
        shop.database.engine.execute_sql(
            "CREATE TRIGGER refuse BEFORE INSERT ON sale WHEN new.order_sn = 'bad' BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    hold.arm(CrashPoint.BATCH_TAKEN)
    futures = shop.put([sell("o0", ONE_TEA)])
    hold.wait()
    futures += shop.put([sell("o1", ONE_TEA), sell("bad", ONE_TEA), sell("o2", ONE_TEA)])
    hold.let_go()

    outcomes = [outcome_of(future) for future in futures]
    assert "no" in str(outcomes.pop(2))
    assert all(sale.state is SaleState.SOLD for sale in outcomes)
    assert shop.units("tea") == (7, 3)
    assert shop.differences() == []


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_a_batch_of_refusals_writes_nothing(shop: Shop) -> None:
    shop.stock_up(tea=0)
    shop.carry_out(reback("over"))
    with shop.database.reading():
        data_version = shop.database.engine.execute_sql("PRAGMA data_version").fetchone()
        outcomes = shop.outcomes([sell("o1", ONE_TEA), sell("over", ONE_TEA), reback("over")])
        assert shop.database.engine.execute_sql("PRAGMA data_version").fetchone() == data_version

    assert [getattr(outcome, "reason", "") for outcome in outcomes] == ["NO_STOCK", "SALE_RETURNED", ""]


def test_a_full_queue_refuses_at_once(tmp_path: Path, hold: Hold) -> None:
    with open_shop(tmp_path / "inventory.db", crash_hook=hold.crash_hook, queue=2) as shop:
        shop.stock_up(tea=5)
        hold.arm(CrashPoint.BATCH_TAKEN)
        futures = shop.put([sell("o1", ONE_TEA)])
        hold.wait()
        futures += shop.put([sell("o2", ONE_TEA), sell("o3", ONE_TEA)])

        with pytest.raises(QueueFull):
            shop.writer.put(sell("o4", ONE_TEA), soon())

        hold.let_go()
        assert all(outcome_of(future).state is SaleState.SOLD for future in futures)
        assert shop.carry_out(sell("o4", ONE_TEA)).state is SaleState.SOLD


def test_a_change_whose_deadline_passed_in_the_queue_is_dropped(shop: Shop, hold: Hold) -> None:
    shop.stock_up(tea=5)
    hold.arm(CrashPoint.BATCH_TAKEN)
    first = shop.put([sell("o1", ONE_TEA)])
    hold.wait()
    late = Deadline.after(0.05)
    dropped = shop.writer.put(sell("late", ONE_TEA), late)
    wait_until(lambda: late.passed, "the deadline passes")
    hold.let_go()

    assert isinstance(outcome_of(dropped), DeadlineExceeded)
    assert outcome_of(first[0]).state is SaleState.SOLD
    assert shop.units("tea") == (4, 1)


@pytest.mark.parametrize("point", [CrashPoint.BATCH_TAKEN, CrashPoint.LOCK_HELD, CrashPoint.ROWS_HELD])
def test_a_change_whose_caller_left_while_its_batch_waited_is_dropped(
    shop: Shop, hold: Hold, point: CrashPoint
) -> None:
    shop.stock_up(tea=5)
    gone = soon()
    hold.arm(point)
    dropped = shop.writer.put(sell("late", ONE_TEA), gone)
    hold.wait()
    gone.cancel()
    hold.let_go()

    assert isinstance(outcome_of(dropped), DeadlineExceeded)
    assert shop.units("tea") == (5, 0)


def test_a_caller_that_hangs_up_leaves_the_queue_at_once(tmp_path: Path, hold: Hold) -> None:
    with open_shop(tmp_path / "inventory.db", crash_hook=hold.crash_hook, queue=1) as shop:
        shop.stock_up(tea=5)
        hold.arm(CrashPoint.BATCH_TAKEN)
        first = shop.put([sell("o1", ONE_TEA)])
        hold.wait()
        deadline, answer = soon(), []

        def call() -> None:
            with pytest.raises(DeadlineExceeded) as error:
                shop.writer.carry_out(sell("gone", ONE_TEA), deadline)
            answer.append(error.value)

        caller = threading.Thread(target=call)
        caller.start()
        wait_until(lambda: len(shop.writer._queue) == 1, "the call is in the queue")
        deadline.cancel()
        caller.join(TIMEOUT_S)

        assert answer
        after = shop.put([sell("o2", ONE_TEA)])  # there is room for one
        hold.let_go()
        assert [outcome_of(future).order_sn for future in first + after] == ["o1", "o2"]
        assert shop.units("tea") == (3, 2)


def test_a_caller_that_waited_long_enough_leaves_the_queue(tmp_path: Path, hold: Hold) -> None:
    with open_shop(tmp_path / "inventory.db", crash_hook=hold.crash_hook, queue=1) as shop:
        shop.stock_up(tea=5)
        hold.arm(CrashPoint.BATCH_TAKEN)
        first = shop.put([sell("o1", ONE_TEA)])
        hold.wait()

        with pytest.raises(DeadlineExceeded):
            shop.writer.carry_out(sell("late", ONE_TEA), Deadline.after(0.05))

        after = shop.put([sell("o2", ONE_TEA)])  # there is room for one
        hold.let_go()
        assert [outcome_of(future).order_sn for future in first + after] == ["o1", "o2"]
        assert shop.units("tea") == (3, 2)


def test_an_answer_that_comes_as_the_wait_ends_is_given(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.stock_up(tea=5)
    as_it_is = Future.exception

    def end_the_wait_as_the_answer_comes(future: Future[Any], timeout: float | None = None) -> BaseException | None:
        if not timeout:
            return as_it_is(future, timeout)
        as_it_is(future, TIMEOUT_S)
        raise TimeoutError

    monkeypatch.setattr(Future, "exception", end_the_wait_as_the_answer_comes)

    assert shop.writer.carry_out(sell("o1", ONE_TEA), soon()).state is SaleState.SOLD
    sales = shop.writer.carry_out_all([sell("o2", ONE_TEA), sell("o3", ONE_TEA)], soon())
    assert [outcome.order_sn for outcome in sales if not isinstance(outcome, Exception)] == ["o2", "o3"]


def test_a_refusal_holds_nothing_of_its_call(shop: Shop) -> None:
    shop.stock_up(tea=0)
    refusal = shop.refusal_of("o1", ONE_TEA)

    frames = [frame.tb_frame.f_locals for frame in _tracebacks(refusal)]
    assert not any(refusal in values.values() for values in frames)


def _tracebacks(error: Exception) -> Iterator[TracebackType]:
    traceback = error.__traceback__
    while traceback is not None:
        if "stock_writer" in traceback.tb_frame.f_code.co_filename:
            yield traceback
        traceback = traceback.tb_next


def test_closing_finishes_what_was_taken_and_takes_no_more(tmp_path: Path, hold: Hold) -> None:
    with open_shop(tmp_path / "inventory.db", crash_hook=hold.crash_hook) as shop:
        shop.stock_up(tea=5)
        hold.arm(CrashPoint.BATCH_TAKEN)
        futures = shop.put([sell("o1", ONE_TEA)])
        hold.wait()
        futures += shop.put([sell("o2", ONE_TEA), sell("o3", ONE_TEA)])
        closing = threading.Thread(target=shop.writer.close)
        closing.start()
        wait_until(lambda: shop.writer._closed, "the writer is closing")

        with pytest.raises(Unavailable):
            shop.writer.carry_out_all([sell("o4", ONE_TEA), sell("o5", ONE_TEA)], soon())

        hold.let_go()
        closing.join(TIMEOUT_S)
        assert not closing.is_alive()
        assert [future.result(0).order_sn for future in futures] == ["o1", "o2", "o3"]
        assert shop.units("tea") == (2, 3)


def test_changes_of_one_order_in_one_batch_follow_each_other(shop: Shop, hold: Hold) -> None:
    shop.stock_up(tea=5)
    hold.arm(CrashPoint.ROWS_HELD)
    futures = shop.put([set_stock("tea", 3)])
    hold.wait()
    futures += shop.put([sell("o1", ("tea", 3)), reback("o1"), sell("o1", ("tea", 3)), sell("o2", ("tea", 3))])
    hold.let_go()

    outcomes = [outcome_of(future) for future in futures[1:]]
    assert [outcome.state for outcome in (outcomes[0], outcomes[1], outcomes[3])] == ["SOLD", "RETURNED", "SOLD"]
    assert outcomes[2].reason == "SALE_RETURNED"
    assert shop.units("tea") == (0, 3)
    assert shop.differences() == []
