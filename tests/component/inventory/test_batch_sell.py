"""BatchSell over real gRPC: a result for each sell, as if `Sell` had been called; and what ends the whole call."""

from pathlib import Path
from typing import Any

import grpc
import pytest

from inventory_srv.crash_points import CrashPoint
from inventory_srv.domain.changes import Sell, WorkingSet
from reback.inventory.v1 import inventory_pb2 as pb
from tests.component.inventory import test_errors
from tests.component.inventory.in_process import RunningService, running_service, sell_request
from tests.component.inventory.shop import Hold
from tests.support.rpc_errors import read_status, refusal_of
from tests.support.stock_changes import sell
from tests.support.waiting import TIMEOUT_S, wait_until

pytestmark = pytest.mark.usefixtures("engine")

ONE_TEA = ("tea", 1)
SELLS = {case: request for case, (rpc, request, _) in test_errors.CASES.items() if rpc == "Sell"}


def batch(*sells: pb.SellRequest) -> pb.BatchSellRequest:
    return pb.BatchSellRequest(sells=sells)


def teas(*order_sns: str) -> pb.BatchSellRequest:
    return batch(*(sell_request(order_sn, {"tea": 1}) for order_sn in order_sns))


def test_each_sell_has_a_result_of_its_own_in_the_order_asked(running: RunningService) -> None:
    running.stock_up(tea=3, pot=0)
    repeated = running.sell("o4", {"tea": 1})
    running.reback("o5")

    results = running.stub.BatchSell(
        batch(
            sell_request("o9", {"tea": 1}),
            sell_request("o2", {"tea": 1, "pot": 1}),
            sell_request("o3", {"who": 1}),
            sell_request("o4", {"tea": 1}),
            sell_request("o5", {"tea": 1}),
            sell_request("o6", {"tea": 2}),
            sell_request("o1", {"tea": 1}),
        )
    ).results

    assert [result.order_sn for result in results] == ["o9", "o2", "o3", "o4", "o5", "o6", "o1"]
    said = [
        read_status(result.error).reason if result.HasField("error") else result.sale.order_sn for result in results
    ]
    assert said == ["o9", "NO_STOCK", "SKU_NOT_FOUND", "o4", "SALE_RETURNED", "NO_STOCK", "o1"]
    assert results[3].sale == repeated
    assert [running.stub.GetSale(pb.GetSaleRequest(order_sn=sn)) for sn in ("o9", "o1")] == [
        results[0].sale,
        results[6].sale,
    ]
    assert running.units("tea") == (0, 3)
    assert running.differences() == []


@pytest.mark.parametrize("case", SELLS)
def test_a_refused_sell_says_the_same_as_sell(running: RunningService, case: str) -> None:
    test_errors.set_up(running)

    [result] = running.stub.BatchSell(batch(SELLS[case])).results

    assert read_status(result.error) == refusal_of(running.stub.Sell, SELLS[case])


def test_a_refusal_with_a_hundred_long_skus_is_told_in_full(running: RunningService) -> None:
    skus = {f"{n:03}" + "茶" * 61: 1 for n in range(100)}

    results = running.stub.BatchSell(batch(*(sell_request(f"o{n}", skus) for n in range(10)))).results

    assert all(read_status(result.error).subjects == list(skus) for result in results)


def test_an_order_sold_by_either_call_is_sold_once(running: RunningService) -> None:
    running.stock_up(tea=5)
    first = running.sell("o1", {"tea": 1})
    [again, second] = running.stub.BatchSell(teas("o1", "o2")).results

    assert again.sale == first
    assert running.sell("o2", {"tea": 1}) == second.sale
    assert running.units("tea") == (3, 2)
    assert running.stub.BatchSell(teas("o2", "o1")).results == [second, again]


def test_sold_by_both_calls_at_once_it_is_sold_once(running: RunningService, hold: Hold) -> None:
    running.stock_up(tea=5)
    hold.arm(CrashPoint.BATCH_TAKEN)
    calls = [running.stub.Sell.future(sell_request("o1", {"tea": 1}), timeout=TIMEOUT_S)]
    hold.wait()
    batches = [running.stub.BatchSell.future(teas("o2", "o1"), timeout=TIMEOUT_S)]
    wait_until(lambda: len(running.service.writer._queue) == 2, "the batch is in the queue")
    calls.append(running.stub.Sell.future(sell_request("o2", {"tea": 1}), timeout=TIMEOUT_S))
    hold.let_go()

    sales = {result.order_sn: result.sale for result in batches[0].result(TIMEOUT_S).results}
    assert [call.result(TIMEOUT_S) for call in calls] == [sales["o1"], sales["o2"]]
    assert running.units("tea") == (3, 2)


def test_a_batch_and_other_changes_share_one_transaction(running: RunningService, hold: Hold) -> None:
    running.stock_up(tea=100)
    hold.arm(CrashPoint.BATCH_TAKEN)
    held = running.stub.Sell.future(sell_request("held", {"tea": 1}), timeout=TIMEOUT_S)
    hold.wait()
    calls = [running.stub.BatchSell.future(teas(*(f"{b}-{n}" for n in range(20))), timeout=TIMEOUT_S) for b in "ab"]
    more = running.stub.AdjustStock.future(pb.AdjustStockRequest(request_id="r", sku="tea", delta=1), timeout=TIMEOUT_S)
    wait_until(lambda: len(running.service.writer._queue) == 41, "all wait")
    hold.times.clear()
    hold.let_go()

    results = [result for call in calls for result in call.result(TIMEOUT_S).results]
    held.result(TIMEOUT_S)
    more.result(TIMEOUT_S)
    assert all(result.sale.state == pb.SALE_STATE_SOLD for result in results)
    assert hold.times[CrashPoint.BATCH_COMMITTED] <= 2  # those waiting may have joined the one that was held
    assert running.units("tea") == (60, 41)


def test_a_bug_in_one_sell_is_internal_for_that_one(
    running: RunningService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    running.stock_up(tea=10)
    as_it_is = WorkingSet.apply

    def apply_with_a_bug(working_set: WorkingSet, change: Any, now: Any) -> Any:
        if isinstance(change, Sell) and change.order_sn == "poison":
            raise ZeroDivisionError("the secret text of a bug")
        return as_it_is(working_set, change, now)

    monkeypatch.setattr(WorkingSet, "apply", apply_with_a_bug)

    results = running.stub.BatchSell(teas("o1", "poison", "o2")).results

    assert [result.sale.order_sn for result in results] == ["o1", "", "o2"]
    failure = read_status(results[1].error)
    assert (failure.code, failure.reason, failure.domain) == (grpc.StatusCode.INTERNAL, "INTERNAL", "inventory")
    assert "secret" not in failure.message
    logged = capsys.readouterr().out
    assert "secret text of a bug" in logged
    assert [line.count(failure.metadata["error_id"]) for line in logged.splitlines() if "poison" in line] == [1]
    assert running.units("tea") == (8, 2)


def test_what_is_known_to_be_sold_out_is_refused_alone_and_without_the_writer(
    running: RunningService, hold: Hold
) -> None:
    running.stock_up(tea=1, mug=5)
    running.sell("o1", {"tea": 1})
    assert refusal_of(running.stub.Sell, sell_request("o2", {"tea": 1})).reason == "NO_STOCK"
    memory = running.service.writer._lease
    wait_until(lambda: memory.known_refusal(sell("o3", ONE_TEA)) is not None, "the writer knows")
    hold.times.clear()

    results = running.stub.BatchSell(batch(*(sell_request(f"n{n}", {"tea": 1}) for n in range(3)))).results

    assert [read_status(result.error).reason for result in results] == ["NO_STOCK"] * 3
    assert hold.times[CrashPoint.BATCH_TAKEN] == 0


def test_a_full_queue_takes_all_of_a_batch_or_nothing(running: RunningService, hold: Hold) -> None:
    running.service.writer._limit = 4
    running.stock_up(tea=10)
    hold.arm(CrashPoint.BATCH_TAKEN)
    held = running.stub.Sell.future(sell_request("held", {"tea": 1}), timeout=TIMEOUT_S)
    hold.wait()
    waiting = running.stub.BatchSell.future(teas("o1", "o2"), timeout=TIMEOUT_S)
    wait_until(lambda: len(running.service.writer._queue) == 2, "the first batch is in the queue")

    refusal = refusal_of(running.stub.BatchSell, teas("o3", "o4", "o5"))
    fits = running.stub.BatchSell.future(teas("o6", "o7"), timeout=TIMEOUT_S)
    wait_until(lambda: len(running.service.writer._queue) == 4, "the smaller batch is in the queue")
    hold.let_go()

    answer = (refusal.code, refusal.reason, refusal.domain)
    assert answer == (grpc.StatusCode.RESOURCE_EXHAUSTED, "STOCK_BUSY", "inventory")
    for call in (held, waiting, fits):
        call.result(TIMEOUT_S)
    assert running.units("tea") == (5, 5)


def test_a_cancelled_call_withdraws_what_has_not_begun(tmp_path: Path, hold: Hold) -> None:
    with running_service(tmp_path, {"batch": 2}, crash_hook=hold.crash_hook) as running:
        running.stock_up(tea=10)
        hold.arm(CrashPoint.ROWS_HELD)
        cancelled = running.stub.BatchSell.future(teas("o1", "o2", "o3", "o4", "o5"), timeout=TIMEOUT_S)
        hold.wait()
        queue = running.service.writer._queue
        assert [pending.change.order_sn for pending in queue if isinstance(pending.change, Sell)] == ["o3", "o4", "o5"]

        cancelled.cancel()

        wait_until(lambda: not running.service.writer._queue, "the rest has left the queue")
        hold.let_go()
        last = running.sell("last", {"tea": 1})
        sales = running.stub.ListSales(pb.ListSalesRequest()).sales
        # The first two were being applied; their caller had left by the time.
        assert sales == [last]


def test_what_is_not_known_when_the_deadline_passes_ends_the_whole_call(running: RunningService, hold: Hold) -> None:
    running.stock_up(tea=10)
    hold.arm(CrashPoint.BATCH_COMMITTED)

    with pytest.raises(grpc.RpcError) as error:
        running.stub.BatchSell(teas("o1", "o2"), timeout=0.3)

    hold.let_go()
    assert error.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    sold = running.stub.BatchSell(teas("o1", "o2")).results
    assert [result.sale.order_sn for result in sold] == ["o1", "o2"]
    assert running.units("tea") == (8, 2)
