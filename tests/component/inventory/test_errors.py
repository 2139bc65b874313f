"""Each case of the contract's error table, over real gRPC, with its code, reason and details."""

from pathlib import Path
from typing import Any

import grpc
import pytest

from common.database import DatabaseUnavailable
from common.lock.local import LocalLock
from inventory_srv.crash_points import CrashPoint
from inventory_srv.domain.changes import WorkingSet
from reback.inventory.v1 import inventory_pb2 as pb
from tests.component.inventory.in_process import RunningService, running_service, sell_request
from tests.component.inventory.shop import Hold, soon
from tests.support.rpc_errors import refusal_of
from tests.support.waiting import TIMEOUT_S, wait_until

Code = grpc.StatusCode
Refused = tuple[grpc.StatusCode, str, dict[str, str], list[tuple[str, str, str]] | None]


def set_up(running: RunningService) -> None:
    """5 teas and no pot; o1 sold one tea and gave it back, o2 is a tombstone, o3 holds one tea."""
    running.stock_up(tea=5, pot=0)
    running.sell("o1", {"tea": 1})
    running.reback("o1")
    running.reback("o2")
    running.sell("o3", {"tea": 1})
    running.stub.AdjustStock(pb.AdjustStockRequest(request_id="r1", sku="tea", delta=1, reason="found"))


CASES: dict[str, tuple[str, Any, Refused]] = {
    "unknown sku": (
        "GetStock",
        pb.GetStockRequest(sku="who"),
        (Code.NOT_FOUND, "SKU_NOT_FOUND", {"sku": "who"}, [("SKU_NOT_FOUND", "who", "unknown sku")]),
    ),
    "unknown skus of many": (
        "BatchGetStocks",
        pb.BatchGetStocksRequest(skus=["who", "tea", "what"]),
        (
            Code.NOT_FOUND,
            "SKU_NOT_FOUND",
            {"sku": "what"},
            [("SKU_NOT_FOUND", "what", "unknown sku"), ("SKU_NOT_FOUND", "who", "unknown sku")],
        ),
    ),
    "unknown skus of a sell, before those that are short": (
        "Sell",
        sell_request("new", {"who": 1, "pot": 1, "what": 1}),
        (
            Code.NOT_FOUND,
            "SKU_NOT_FOUND",
            {"sku": "what"},
            [("SKU_NOT_FOUND", "what", "unknown sku"), ("SKU_NOT_FOUND", "who", "unknown sku")],
        ),
    ),
    "unknown sku of an adjustment": (
        "AdjustStock",
        pb.AdjustStockRequest(request_id="new", sku="who", delta=1),
        (Code.NOT_FOUND, "SKU_NOT_FOUND", {"sku": "who"}, [("SKU_NOT_FOUND", "who", "unknown sku")]),
    ),
    "unknown sale": (
        "GetSale",
        pb.GetSaleRequest(order_sn="who"),
        (Code.NOT_FOUND, "SALE_NOT_FOUND", {"order_sn": "who"}, None),
    ),
    "too little stock of several skus": (
        "Sell",
        sell_request("new", {"tea": 7, "pot": 1}),
        (
            Code.FAILED_PRECONDITION,
            "NO_STOCK",
            {"sku": "pot", "asked": "1", "available": "0"},
            [("NO_STOCK", "pot", "asked 1, available 0"), ("NO_STOCK", "tea", "asked 7, available 5")],
        ),
    ),
    "an adjustment below zero": (
        "AdjustStock",
        pb.AdjustStockRequest(request_id="new", sku="tea", delta=-6),
        (
            Code.FAILED_PRECONDITION,
            "NO_STOCK",
            {"sku": "tea", "asked": "6", "available": "5"},
            [("NO_STOCK", "tea", "asked 6, available 5")],
        ),
    ),
    "an adjustment beyond the limit": (
        "AdjustStock",
        pb.AdjustStockRequest(request_id="new", sku="tea", delta=2**31 - 1),
        (
            Code.FAILED_PRECONDITION,
            "STOCK_LIMIT",
            {"sku": "tea", "limit": "2147483647"},
            [("STOCK_LIMIT", "tea", "2147483652 available would be more than 2147483647")],
        ),
    ),
    "a repeated sell after its reback": (
        "Sell",
        sell_request("o1", {"tea": 1}),
        (
            Code.FAILED_PRECONDITION,
            "SALE_RETURNED",
            {"order_sn": "o1"},
            [("SALE_RETURNED", "o1", "the stock of this order was given back")],
        ),
    ),
    "a late sell after its reback": (
        "Sell",
        sell_request("o2", {"tea": 1}),
        (
            Code.FAILED_PRECONDITION,
            "SALE_RETURNED",
            {"order_sn": "o2"},
            [("SALE_RETURNED", "o2", "the stock of this order was given back")],
        ),
    ),
    "the same order with another content": (
        "Sell",
        sell_request("o3", {"tea": 2}),
        (Code.ALREADY_EXISTS, "DIFFERENT_CONTENT", {"order_sn": "o3"}, None),
    ),
    "the same request with another content": (
        "AdjustStock",
        pb.AdjustStockRequest(request_id="r1", sku="tea", delta=2, reason="found"),
        (Code.ALREADY_EXISTS, "DIFFERENT_CONTENT", {"request_id": "r1"}, None),
    ),
    "the request of another RPC": (
        "SetStock",
        pb.SetStockRequest(request_id="r1", sku="tea", quantity=1, reason="found"),
        (Code.ALREADY_EXISTS, "DIFFERENT_CONTENT", {"request_id": "r1"}, None),
    ),
    "another version than expected": (
        "SetStock",
        pb.SetStockRequest(sku="tea", quantity=1, expected_version=1),
        (Code.ABORTED, "VERSION_MISMATCH", {"sku": "tea", "expected_version": "1", "version": "5"}, None),
    ),
    "a sku that is new no more": (
        "SetStock",
        pb.SetStockRequest(sku="tea", quantity=1, expected_version=0),
        (Code.ABORTED, "VERSION_MISMATCH", {"sku": "tea", "expected_version": "0", "version": "5"}, None),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_refusal_tells_its_code_its_reason_and_its_facts(running: RunningService, case: str) -> None:
    set_up(running)
    rpc, request, answer = CASES[case]

    refusal = refusal_of(getattr(running.stub, rpc), request)

    assert refusal.domain == "inventory"
    assert (refusal.code, refusal.reason, refusal.metadata, refusal.conditions) == answer
    assert running.units("tea") == (5, 1)
    assert running.differences() == []


def test_a_full_queue_is_told_at_once_as_stock_busy(tmp_path: Path, hold: Hold) -> None:
    with running_service(tmp_path, crash_hook=hold.crash_hook) as running:
        running.service.writer._limit = 1
        running.stock_up(tea=5)
        hold.arm(CrashPoint.BATCH_TAKEN)
        being_done = running.stub.Sell.future(sell_request("o1", {"tea": 1}), timeout=TIMEOUT_S)
        hold.wait()
        waiting = running.stub.Sell.future(sell_request("o2", {"tea": 1}), timeout=TIMEOUT_S)
        wait_until(lambda: len(running.service.writer._queue) == 1, "the second sell is in the queue")

        refusal = refusal_of(running.stub.Sell, sell_request("o3", {"tea": 1}))

        hold.let_go()
        assert (refusal.code, refusal.reason) == (Code.RESOURCE_EXHAUSTED, "STOCK_BUSY")
        assert [being_done.result(TIMEOUT_S).order_sn, waiting.result(TIMEOUT_S).order_sn] == ["o1", "o2"]


def test_told_to_refuse_a_lock_that_is_not_had_is_stock_busy(tmp_path: Path) -> None:
    lock = LocalLock()
    with running_service(tmp_path, {"lock_outage": "refuse"}, lock=lock) as running:
        running.stock_up(tea=5)
        running.service.writer._lease._timeout = 0.05
        with lock.holding(["lock:stock:tea"], soon()):
            refusal = refusal_of(running.stub.Sell, sell_request("o1", {"tea": 1}))

        assert (refusal.code, refusal.reason) == (Code.ABORTED, "STOCK_BUSY")
        assert running.units("tea") == (5, 0)


@pytest.mark.parametrize("rpc", ["Sell", "GetStock"])
def test_a_database_out_of_reach_is_unavailable(
    running: RunningService, monkeypatch: pytest.MonkeyPatch, rpc: str
) -> None:
    running.stock_up(tea=5)
    request = sell_request("o1", {"tea": 1}) if rpc == "Sell" else pb.GetStockRequest(sku="mug")

    def down(*_: object, **__: object) -> None:
        raise DatabaseUnavailable("the database can't be used")

    with monkeypatch.context() as patch:
        patch.setattr("common.database.Database.write", down)
        patch.setattr("common.database.Database.reading", down)
        refusal = refusal_of(getattr(running.stub, rpc), request)

    assert (refusal.code, refusal.reason) == (Code.UNAVAILABLE, "DATABASE_UNAVAILABLE")
    assert running.sell("o1", {"tea": 1}).state == pb.SALE_STATE_SOLD


def test_pitfall_18_a_bug_is_told_as_an_id_that_the_log_has_too(
    running: RunningService, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    running.stock_up(tea=5)

    def with_a_bug(*_: object) -> None:
        raise ZeroDivisionError("the secret text of a bug")

    monkeypatch.setattr(WorkingSet, "apply", with_a_bug)
    refusal = refusal_of(running.stub.Sell, sell_request("o1", {"tea": 1}))

    assert (refusal.code, refusal.reason) == (Code.INTERNAL, "INTERNAL")
    assert "secret" not in refusal.message
    logged = capsys.readouterr().out
    assert refusal.metadata["error_id"] in logged
    assert "secret text of a bug" in logged


def test_pitfall_18_a_refusal_with_a_hundred_long_skus_still_arrives_as_a_status(running: RunningService) -> None:
    skus = {f"{n:03}" + "茶" * 61: 1 for n in range(100)}
    refusal = refusal_of(running.stub.Sell, sell_request("o1", skus))

    assert (refusal.code, refusal.reason) == (Code.NOT_FOUND, "SKU_NOT_FOUND")
    assert refusal.conditions
    assert refusal.metadata["violations_total"] == "100"
