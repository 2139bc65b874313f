"""Many callers at once, over real gRPC."""

import random
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import pytest

from reback.inventory.v1 import inventory_pb2 as pb
from tests.component.inventory.in_process import RunningService, running_service, sell_request
from tests.support.rpc_errors import read
from tests.support.waiting import TIMEOUT_S

SKUS = [f"s{n:02}" for n in range(12)]


@pytest.mark.parametrize("batch", [256, 1])
def test_of_500_callers_for_the_last_unit_exactly_one_gets_it(tmp_path: Path, batch: int) -> None:
    with running_service(tmp_path, {"batch": batch}) as running:
        running.stock_up(tea=1)

        calls = [running.stub.Sell.future(sell_request(f"o{n}", {"tea": 1}), timeout=TIMEOUT_S) for n in range(500)]

        outcomes = Counter(outcome_of(call) for call in calls)
        assert outcomes == {"SOLD": 1, "NO_STOCK": 499}
        assert running.units("tea") == (0, 1)
        assert len(running.stub.ListSales(pb.ListSalesRequest()).sales) == 1
        assert running.differences() == []


def test_pitfall_03_twelve_skus_in_random_order_by_32_callers_never_fail(running: RunningService) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 pytest shows it when the test fails
    chance = random.Random(seed)
    running.stock_up(**dict.fromkeys(SKUS, 32 * 5))
    requests = [sell_request(f"o{n}", dict.fromkeys(chance.sample(SKUS, 12), 1)) for n in range(32 * 5)]

    for start in range(0, len(requests), 32):
        calls = [running.stub.Sell.future(request, timeout=TIMEOUT_S) for request in requests[start : start + 32]]
        assert {outcome_of(call) for call in calls} == {"SOLD"}

    assert {running.units(sku) for sku in SKUS} == {(0, 32 * 5)}
    assert running.differences() == []


def test_pitfall_05_the_last_unit_retried_by_everyone_is_the_first_ones(running: RunningService) -> None:
    running.stock_up(tea=1)
    requests = [sell_request(f"o{n % 10}", {"tea": 1}) for n in range(100)]

    calls = [running.stub.Sell.future(request, timeout=TIMEOUT_S) for request in requests]

    sold = {n % 10 for n, call in enumerate(calls) if outcome_of(call) == "SOLD"}
    assert len(sold) == 1
    assert [outcome_of(call) for n, call in enumerate(calls) if n % 10 in sold] == ["SOLD"] * 10
    assert running.units("tea") == (0, 1)


def test_pitfall_06_one_reback_called_100_times_returns_once(running: RunningService) -> None:
    running.stock_up(tea=5)
    running.sell("o1", {"tea": 3})
    request = pb.RebackRequest(order_sn="o1", reason="close")

    sales = [
        call.result(TIMEOUT_S) for call in [running.stub.Reback.future(request, timeout=TIMEOUT_S) for _ in range(100)]
    ]

    assert {(sale.state, sale.return_time.ToNanoseconds()) for sale in sales} == {
        (pb.SALE_STATE_RETURNED, sales[0].return_time.ToNanoseconds())
    }
    assert running.units("tea") == (5, 0)
    assert len(running.stub.ListMovements(pb.ListMovementsRequest(order_sn="o1")).movements) == 2


def test_sells_rebacks_and_restocks_of_the_same_skus_leave_the_books_in_balance(running: RunningService) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 pytest shows it when the test fails
    chance = random.Random(seed)
    running.stock_up(**dict.fromkeys(SKUS, 10))
    calls: list[Any] = []
    for n in range(400):
        order_sn = f"o{chance.randrange(100)}"
        match chance.randrange(5):
            case 0:
                calls.append(running.stub.Reback.future(pb.RebackRequest(order_sn=order_sn), timeout=TIMEOUT_S))
            case 1:
                request = pb.AdjustStockRequest(
                    request_id=f"r{n}", sku=chance.choice(SKUS), delta=chance.choice([-1, 2])
                )
                calls.append(running.stub.AdjustStock.future(request, timeout=TIMEOUT_S))
            case _:
                lines = {sku: chance.randint(1, 2) for sku in chance.sample(SKUS, 3)}
                calls.append(running.stub.Sell.future(sell_request(order_sn, lines), timeout=TIMEOUT_S))

    outcomes = {outcome_of(call) for call in calls}

    assert outcomes <= {"SOLD", "RETURNED", "STOCK", "NO_STOCK", "SALE_RETURNED", "DIFFERENT_CONTENT"}
    assert running.differences() == []


def outcome_of(call: Any) -> str:
    """The sale's state, `STOCK`, or the reason of the refusal."""
    try:
        answer = call.result(TIMEOUT_S)
    except grpc.RpcError as error:
        return read(error).reason
    if isinstance(answer, pb.Sale):
        return pb.SaleState.Name(answer.state).removeprefix("SALE_STATE_")
    return "STOCK"
