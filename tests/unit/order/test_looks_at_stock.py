"""What was short a moment ago is looked at before an order is written; callers of one moment share a look."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any, cast

import grpc
import pytest

from common.deadline import Deadline
from common.errors import FailedPrecondition, Violation
from order_srv.adapters import stock_client
from order_srv.adapters.stock_client import Refused, StockClient
from order_srv.domain.order import Line
from reback.inventory.v1 import inventory_pb2 as pb
from tests.support.waiting import TIMEOUT_S, wait_until


class RefusedCall(grpc.RpcError):
    """A sell that inventory refuses for lack of stock."""

    def __init__(self, skus: Sequence[str]) -> None:
        self.error = FailedPrecondition(
            "short", reason="NO_STOCK", violations=[Violation(sku, "none", "NO_STOCK") for sku in skus]
        )


class Inventory:
    """Sells nothing, and tells what there is."""

    def __init__(self, available: dict[str, int]) -> None:
        self.available = available
        self.asked: list[list[str]] = []
        self.before_answer: Callable[[], object] = lambda: None

    def Sell(self, request: pb.SellRequest, timeout: float) -> Any:  # noqa: N802 as the stub has it
        raise RefusedCall([line.sku for line in request.lines])

    def BatchGetStocks(self, request: pb.BatchGetStocksRequest, timeout: float) -> Any:  # noqa: N802
        self.asked.append(list(request.skus))
        self.before_answer()
        stocks = [pb.Stock(sku=sku, available=self.available[sku]) for sku in request.skus]
        return pb.BatchGetStocksResponse(stocks=stocks)


@pytest.fixture(autouse=True)
def read_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stock_client, "to_domain_error", lambda call: call.error)


def after_refusal_of(inventory: Inventory, *skus: str) -> StockClient:
    client = StockClient(cast("Any", inventory))
    with pytest.raises(Refused):
        client.sell("order", [Line(sku, sku, 1, 1) for sku in skus], Deadline.after(TIMEOUT_S))
    return client


def look(client: StockClient, quantities: dict[str, int]) -> None:
    client.reject_known_shortage(quantities, Deadline.after(TIMEOUT_S))


def test_what_was_not_short_lately_is_not_looked_at() -> None:
    inventory = Inventory({"tea": 0})
    look(after_refusal_of(inventory, "tea"), {"jam": 1})
    assert inventory.asked == []


def test_a_refusal_tells_what_there_is_by_now() -> None:
    inventory = Inventory({"tea": 2})
    client = after_refusal_of(inventory, "tea")

    look(client, {"tea": 2, "jam": 1})
    with pytest.raises(FailedPrecondition) as refusal:
        look(client, {"tea": 3, "jam": 1})

    assert refusal.value.metadata == {"sku": "tea", "asked": "3", "available": "2"}
    assert inventory.asked == [["tea"], ["tea"]]


def test_callers_who_come_during_a_look_share_the_next_one() -> None:
    inventory = Inventory({"tea": 0, "jam": 5})
    client = after_refusal_of(inventory, "tea", "jam")
    begun, answers = Event(), Event()

    def hold() -> None:
        begun.set()
        assert answers.wait(TIMEOUT_S)

    inventory.before_answer = hold
    with ThreadPoolExecutor(8) as pool:
        first = pool.submit(look, client, {"tea": 1})
        assert begun.wait(TIMEOUT_S)
        short = [pool.submit(look, client, {"tea": 1}) for _ in range(3)]
        enough = pool.submit(look, client, {"jam": 5})
        wait_until(lambda: len(client.looked) == len(short) + 1, "they wait")
        answers.set()

    assert all(isinstance(each.exception(), FailedPrecondition) for each in (first, *short))
    assert enough.exception() is None
    assert inventory.asked[0] == ["tea"]
    assert [sorted(asked) for asked in inventory.asked[1:]] == [["jam", "tea"]]


def test_what_does_not_fit_into_a_look_is_left_to_the_sell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stock_client, "_MOST_LOOKED_AT", 1)
    inventory = Inventory({"tea": 9, "jam": 0})
    look(after_refusal_of(inventory, "tea", "jam"), {"tea": 1, "jam": 1})
    assert inventory.asked == [["tea"]]


def test_where_inventory_can_not_be_looked_at_the_sell_will_tell() -> None:
    inventory = Inventory({"tea": 0})
    client = after_refusal_of(inventory, "tea")

    def fail() -> None:
        raise RefusedCall([])

    inventory.before_answer = fail
    look(client, {"tea": 1})


def test_what_is_still_short_stays_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("order_srv.adapters.stock_client.time.monotonic", lambda: now[0])
    inventory = Inventory({"tea": 0})
    client = after_refusal_of(inventory, "tea")
    for _ in range(3):
        now[0] += stock_client._SHORT_FOR_S * 0.9
        with pytest.raises(FailedPrecondition):
            client.reject_known_shortage({"tea": 1}, Deadline(now[0] + 1))
    now[0] += stock_client._SHORT_FOR_S
    client.reject_known_shortage({"tea": 1}, Deadline(now[0] + 1))
    assert len(inventory.asked) == 3
