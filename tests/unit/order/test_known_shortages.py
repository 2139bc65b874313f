"""What was short a moment ago is looked at before an order is written: once for all orders of a group."""

from typing import Any

import grpc
import pytest

from common.deadline import Deadline
from common.errors import DomainError, FailedPrecondition, NotFound, Violation
from common.rpc.errors import to_status
from order_srv.adapters import stock_client
from order_srv.adapters.sell_results import OrderToSell
from order_srv.adapters.stock_client import StockClient
from order_srv.domain.order import Line
from reback.inventory.v1 import inventory_pb2 as pb
from tests.support.failed_call import FailedCall, answered
from tests.support.scripted_inventory import ScriptedInventory
from tests.support.waiting import TIMEOUT_S


def stock_of(available: dict[str, int]) -> Any:
    """Answers BatchGetStocks with what is there."""
    return lambda request: pb.BatchGetStocksResponse(
        stocks=[pb.Stock(sku=sku, available=available[sku]) for sku in request.skus if sku in available]
    )


def after_refusal_of(inventory: ScriptedInventory, *skus: str) -> StockClient:
    """A client whose sell of these skus was refused a moment ago."""
    short = FailedPrecondition(
        "short", reason="NO_STOCK", violations=[Violation(sku, "none", "NO_STOCK") for sku in skus]
    )
    inventory.answer("Sell", answered(short))
    client = inventory.client()
    order = OrderToSell("o0", [Line(sku, sku, 1, 1) for sku in skus])
    client.sell_all([order], Deadline.after(TIMEOUT_S))
    return client


def shortages(client: StockClient, **orders: dict[str, int]) -> dict[str, DomainError]:
    return client.known_shortages(orders, Deadline.after(TIMEOUT_S))


def looks(inventory: ScriptedInventory) -> list[list[str]]:
    return [sorted(request.skus) for request in inventory.asked("BatchGetStocks")]


def test_what_was_not_short_lately_is_not_looked_at() -> None:
    inventory = ScriptedInventory(BatchGetStocks=stock_of({"tea": 0, "jam": 0}))
    client = after_refusal_of(inventory, "tea")
    assert shortages(client, o1={"jam": 1}) == {}
    assert looks(inventory) == []


def test_one_look_serves_all_orders_and_each_short_one_has_an_error_of_its_own() -> None:
    inventory = ScriptedInventory(BatchGetStocks=stock_of({"tea": 2, "jam": 5}))
    client = after_refusal_of(inventory, "tea", "jam")

    short = shortages(
        client, o1={"tea": 3, "jam": 5}, o2={"tea": 2}, o3={"tea": 3}, o4={"jam": 6, "tea": 9}, o5={"mug": 1}
    )

    assert looks(inventory) == [["jam", "tea"]]
    assert sorted(short) == ["o1", "o3", "o4"]
    assert len({id(error) for error in short.values()}) == 3
    assert {(type(error), error.reason) for error in short.values()} == {(FailedPrecondition, "NO_STOCK")}
    assert short["o1"].metadata == {"sku": "tea", "asked": "3", "available": "2"}
    assert {(each.subject, each.description, each.type) for each in short["o4"].violations} == {
        ("tea", "asked 9, available 2", "NO_STOCK"),
        ("jam", "asked 6, available 5", "NO_STOCK"),
    }


def test_a_member_of_a_batch_that_was_short_is_remembered_too() -> None:
    short = FailedPrecondition("short", reason="NO_STOCK", violations=[Violation("tea", "none", "NO_STOCK")])
    sells = [
        pb.SellResult(order_sn="o1", sale=pb.Sale(order_sn="o1", state=pb.SALE_STATE_SOLD)),
        pb.SellResult(order_sn="o2", error=to_status(short, "inventory")),
    ]
    inventory = ScriptedInventory(
        BatchSell=pb.BatchSellResponse(results=sells), BatchGetStocks=stock_of({"tea": 0, "jam": 0})
    )
    client = inventory.client()
    client.sell_all(
        [OrderToSell("o1", [Line("jam", "", 1, 1)]), OrderToSell("o2", [Line("tea", "", 1, 1)])],
        Deadline.after(TIMEOUT_S),
    )
    assert shortages(client, o3={"tea": 1, "jam": 1}).keys() == {"o3"}
    assert looks(inventory) == [["tea"]]


@pytest.mark.parametrize("failure", [answered(NotFound("no")), FailedCall(grpc.StatusCode.UNAVAILABLE)])
def test_where_inventory_can_not_be_looked_at_the_sell_will_tell(failure: grpc.RpcError) -> None:
    inventory = ScriptedInventory(BatchGetStocks=failure)
    assert shortages(after_refusal_of(inventory, "tea"), o1={"tea": 1}) == {}
    assert looks(inventory) == [["tea"]]


def test_a_sku_that_the_answer_leaves_out_is_left_to_the_sell() -> None:
    inventory = ScriptedInventory(BatchGetStocks=stock_of({"jam": 0}))
    client = after_refusal_of(inventory, "tea", "jam")
    assert shortages(client, o1={"tea": 1}, o2={"jam": 1}).keys() == {"o2"}


def test_what_does_not_fit_into_a_look_is_left_to_the_sell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stock_client, "_MOST_LOOKED_AT", 1)
    inventory = ScriptedInventory(BatchGetStocks=stock_of({"tea": 0, "jam": 0}))
    short = shortages(after_refusal_of(inventory, "tea", "jam"), o1={"tea": 1}, o2={"jam": 1})
    assert len(short) == 1
    assert [len(look) for look in looks(inventory)] == [1]


def test_a_look_takes_a_second_at_most_and_no_longer_than_there_is() -> None:
    inventory = ScriptedInventory(BatchGetStocks=stock_of({"tea": 0}))
    client = after_refusal_of(inventory, "tea")
    client.known_shortages({"o1": {"tea": 1}}, Deadline.after(60))
    client.known_shortages({"o1": {"tea": 1}}, Deadline.after(0.3))
    in_time, late = inventory.timeouts("BatchGetStocks")
    assert in_time == 1.0
    assert 0 < late <= 0.3


def test_what_is_still_short_stays_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("order_srv.adapters.stock_client.time.monotonic", lambda: now[0])
    inventory = ScriptedInventory(BatchGetStocks=stock_of({"tea": 0}))
    client = after_refusal_of(inventory, "tea")
    for _ in range(3):
        now[0] += stock_client._SHORT_FOR_S * 0.9
        assert client.known_shortages({"o1": {"tea": 1}}, Deadline(now[0] + 1))
    now[0] += stock_client._SHORT_FOR_S
    assert client.known_shortages({"o1": {"tea": 1}}, Deadline(now[0] + 1)) == {}
    assert len(looks(inventory)) == 3
