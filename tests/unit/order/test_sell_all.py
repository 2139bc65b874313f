"""Orders sold together: what inventory's answers mean for each of them."""

from collections.abc import Sequence
from typing import Any

import grpc
import pytest
from google.rpc.status_pb2 import Status
from structlog.testing import capture_logs

from common.deadline import Deadline
from common.errors import (
    Aborted,
    AlreadyExists,
    DeadlineExceeded,
    DomainError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unavailable,
)
from common.rpc.errors import to_status
from order_srv.adapters.sell_results import OrderToSell, Refused, SellResult, Sold, Unclear
from order_srv.domain.new_order import MOST_LINES, MOST_ORDERS
from order_srv.domain.order import Line
from reback.inventory.v1 import inventory_pb2 as pb
from tests.support.failed_call import FailedCall, answered
from tests.support.scripted_inventory import ScriptedInventory
from tests.support.waiting import TIMEOUT_S

SOLD, RETURNED = pb.SALE_STATE_SOLD, pb.SALE_STATE_RETURNED
NO_SALES = pb.BatchGetSalesResponse()
TOO_MUCH = ResourceExhausted("the queue is full", reason="STOCK_BUSY")


def orders(*order_sns: str) -> list[OrderToSell]:
    return [OrderToSell(order_sn, [Line("tea", "Tea", 100, 2)]) for order_sn in order_sns]


def sale(order_sn: str, state: "pb.SaleState.ValueType" = SOLD) -> pb.Sale:
    return pb.Sale(order_sn=order_sn, state=state)


def sold(order_sn: str) -> pb.SellResult:
    return pb.SellResult(order_sn=order_sn, sale=sale(order_sn))


def failed(order_sn: str, error: DomainError) -> pb.SellResult:
    return pb.SellResult(order_sn=order_sn, error=to_status(error, "inventory"))


def batch(*results: pb.SellResult) -> pb.BatchSellResponse:
    return pb.BatchSellResponse(results=results)


def sell(inventory: ScriptedInventory, *order_sns: str) -> dict[str, SellResult]:
    return inventory.client().sell_all(orders(*order_sns), Deadline.after(TIMEOUT_S))


def kinds(results: dict[str, SellResult]) -> dict[str, type[SellResult]]:
    return {order_sn: type(result) for order_sn, result in results.items()}


def test_a_lone_order_is_sold_by_a_plain_sell() -> None:
    inventory = ScriptedInventory(Sell=sale("o1"))
    assert sell(inventory, "o1") == {"o1": Sold()}
    assert inventory.asked("Sell") == [pb.SellRequest(order_sn="o1", lines=[pb.SaleLine(sku="tea", quantity=2)])]
    assert len(inventory.calls) == 1


def test_several_orders_are_sold_in_one_call() -> None:
    inventory = ScriptedInventory(BatchSell=batch(sold("o1"), sold("o2")))
    assert sell(inventory, "o1", "o2") == {"o1": Sold(), "o2": Sold()}
    assert [request.order_sn for request in inventory.asked("BatchSell")[0].sells] == ["o1", "o2"]
    assert len(inventory.calls) == 1


def test_no_orders_need_no_call() -> None:
    inventory = ScriptedInventory()
    assert sell(inventory) == {}
    assert inventory.calls == []


def test_answers_go_by_the_order_number_and_not_by_the_place() -> None:
    refused = failed("o1", FailedPrecondition("short", reason="NO_STOCK"))
    results = sell(ScriptedInventory(BatchSell=batch(sold("o3"), refused, sold("o2"))), "o1", "o2", "o3")
    assert kinds(results) == {"o1": Refused, "o2": Sold, "o3": Sold}


ODD_RESULTS: dict[str, Sequence[pb.SellResult]] = {
    "left out": [],
    "twice": [sold("o1"), sold("o1")],
    "sold and refused": [sold("o1"), failed("o1", NotFound("no"))],
    "refused and sold": [failed("o1", NotFound("no")), sold("o1")],
    "no outcome": [pb.SellResult(order_sn="o1")],
    "a sale that was returned": [pb.SellResult(order_sn="o1", sale=sale("o1", RETURNED))],
    "a sale in an unknown state": [pb.SellResult(order_sn="o1", sale=sale("o1", 77))],  # type: ignore[arg-type]
    "another order's sale": [pb.SellResult(order_sn="o1", sale=sale("o9"))],
    "an error that is none": [pb.SellResult(order_sn="o1", error=Status())],
    "an error of an unknown code": [pb.SellResult(order_sn="o1", error=Status(code=77))],
}


@pytest.mark.parametrize("odd", ODD_RESULTS.values(), ids=ODD_RESULTS)
def test_an_order_without_one_clear_result_is_unclear_and_logged_and_the_others_are_as_told(
    odd: Sequence[pb.SellResult],
) -> None:
    inventory = ScriptedInventory(BatchSell=batch(*odd, sold("o2")), BatchGetSales=NO_SALES)
    with capture_logs() as logs:
        results = sell(inventory, "o1", "o2")
    assert kinds(results) == {"o1": Unclear, "o2": Sold}
    assert [entry["order_sn"] for entry in logs if entry["event"] == "sell unclear"] == ["o1"]


def test_a_result_of_an_order_that_was_not_asked_for_changes_nothing_and_is_logged() -> None:
    with capture_logs() as logs:
        results = sell(ScriptedInventory(BatchSell=batch(sold("o9"), sold("o1"), sold("o2"))), "o1", "o2")
    assert results == {"o1": Sold(), "o2": Sold()}
    assert [entry["order_sn"] for entry in logs] == ["o9"]


@pytest.mark.parametrize("odd", [sale("o9"), sale("o1", RETURNED), pb.Sale()])
def test_a_lone_sell_that_is_answered_with_another_sale_is_unclear(odd: pb.Sale) -> None:
    assert kinds(sell(ScriptedInventory(Sell=odd, BatchGetSales=NO_SALES), "o1")) == {"o1": Unclear}


@pytest.mark.parametrize("kind", [FailedPrecondition, NotFound, InvalidArgument, AlreadyExists])
@pytest.mark.parametrize("alone", [True, False])
def test_these_errors_refuse_an_order(kind: type[DomainError], alone: bool) -> None:
    error = kind("no", reason="WHY")
    inventory = ScriptedInventory(Sell=answered(error), BatchSell=batch(failed("o1", error), sold("o2")))
    result = sell(inventory, *(["o1"] if alone else ["o1", "o2"]))["o1"]
    assert isinstance(result, Refused)
    assert (type(result.error), result.error.reason) == (kind, "WHY")


@pytest.mark.parametrize("kind", [Aborted, DeadlineExceeded, Unavailable])
@pytest.mark.parametrize("alone", [True, False])
def test_any_other_error_of_an_order_is_unclear(kind: type[DomainError], alone: bool) -> None:
    error = kind("no", reason="WHY")
    inventory = ScriptedInventory(
        Sell=answered(error), BatchSell=batch(failed("o1", error), sold("o2")), BatchGetSales=NO_SALES
    )
    assert sell(inventory, *(["o1"] if alone else ["o1", "o2"]))["o1"] == Unclear("WHY: no")


def test_a_batch_that_is_an_invalid_argument_is_sold_one_by_one_each_with_its_own_result() -> None:
    def sell_each(request: pb.SellRequest) -> Any:
        if request.order_sn == "o2":
            return answered(InvalidArgument("a bad line"))
        return FailedCall(grpc.StatusCode.UNAVAILABLE) if request.order_sn == "o3" else sale(request.order_sn)

    inventory = ScriptedInventory(
        BatchSell=answered(InvalidArgument("a bad line")), Sell=sell_each, BatchGetSales=NO_SALES
    )
    assert kinds(sell(inventory, "o1", "o2", "o3")) == {"o1": Sold, "o2": Refused, "o3": Unclear}
    assert [method for method, *_ in inventory.calls] == ["BatchSell", "Sell", "Sell", "Sell", "BatchGetSales"]


@pytest.mark.parametrize("order_sns", [["o1"], ["o1", "o2"]])
def test_an_inventory_with_too_much_to_do_took_nothing_and_each_order_has_an_error_of_its_own(
    order_sns: list[str],
) -> None:
    inventory = ScriptedInventory(Sell=answered(TOO_MUCH), BatchSell=answered(TOO_MUCH))
    results = sell(inventory, *order_sns)
    errors = [result.error for result in results.values() if isinstance(result, Refused)]
    assert [(type(error), error.reason) for error in errors] == [(ResourceExhausted, "OVERLOADED")] * len(order_sns)
    assert len({id(error) for error in errors}) == len(order_sns)
    assert len(inventory.calls) == 1


@pytest.mark.parametrize(
    "failure",
    [
        FailedCall(grpc.StatusCode.RESOURCE_EXHAUSTED),  # gRPC's own, of an answer that is too large
        answered(TOO_MUCH, domain="elsewhere"),
        answered(Unavailable("the database is down")),
        answered(FailedPrecondition("no", reason="NO_STOCK")),
        answered(NotFound("no", reason="SKU_NOT_FOUND")),
        answered(AlreadyExists("no")),
        FailedCall(grpc.StatusCode.INTERNAL),
        FailedCall(grpc.StatusCode.UNIMPLEMENTED),
        FailedCall(grpc.StatusCode.DEADLINE_EXCEEDED),
        grpc.RpcError("gone"),
    ],
)
def test_any_other_error_of_the_whole_call_says_nothing_about_its_orders(failure: grpc.RpcError) -> None:
    inventory = ScriptedInventory(BatchSell=failure, BatchGetSales=NO_SALES)
    with capture_logs() as logs:
        assert kinds(sell(inventory, "o1", "o2")) == {"o1": Unclear, "o2": Unclear}
    assert [entry["order_sn"] for entry in logs if entry["event"] == "sell unclear"] == ["o1", "o2"]
    assert [method for method, *_ in inventory.calls] == ["BatchSell", "BatchGetSales"]


@pytest.mark.parametrize("failure", [FailedCall(grpc.StatusCode.RESOURCE_EXHAUSTED), answered(TOO_MUCH, domain="x")])
def test_a_lone_sell_that_ran_into_a_limit_of_grpcs_is_unclear(failure: grpc.RpcError) -> None:
    assert kinds(sell(ScriptedInventory(Sell=failure, BatchGetSales=NO_SALES), "o1")) == {"o1": Unclear}


def test_what_is_unclear_is_looked_up_once_and_may_turn_out_sold_but_never_refused() -> None:
    looked_up = pb.BatchGetSalesResponse(sales=[sale("o1"), sale("o2", RETURNED), sale("o9")], unread_order_sns=["o4"])
    inventory = ScriptedInventory(BatchSell=batch(sold("o5")), BatchGetSales=looked_up)
    results = sell(inventory, "o1", "o2", "o3", "o4", "o5")
    assert kinds(results) == {"o1": Sold, "o2": Unclear, "o3": Unclear, "o4": Unclear, "o5": Sold}
    assert inventory.asked("BatchGetSales") == [pb.BatchGetSalesRequest(order_sns=["o1", "o2", "o3", "o4"])]


def test_a_lone_sell_whose_answer_was_lost_is_looked_up_too() -> None:
    inventory = ScriptedInventory(
        Sell=FailedCall(grpc.StatusCode.UNAVAILABLE), BatchGetSales=pb.BatchGetSalesResponse(sales=[sale("o1")])
    )
    assert sell(inventory, "o1") == {"o1": Sold()}


def test_what_can_not_be_looked_up_stays_unclear() -> None:
    lost = FailedCall(grpc.StatusCode.UNAVAILABLE)
    results = sell(ScriptedInventory(BatchSell=lost, BatchGetSales=answered(NotFound("no"))), "o1", "o2")
    assert kinds(results) == {"o1": Unclear, "o2": Unclear}


def test_a_look_up_takes_half_a_second_at_most_of_what_is_kept_back_for_what_follows() -> None:
    lost = FailedCall(grpc.StatusCode.UNAVAILABLE)
    inventory = ScriptedInventory(Sell=lost, BatchGetSales=NO_SALES)
    for left_s in (60.0, 0.3, -1):
        inventory.client().sell_all(orders("o1"), Deadline.after(left_s))
    assert inventory.timeouts("BatchGetSales") == [0.5] * 3


def test_sells_are_given_two_seconds_at_first_and_then_a_limit_by_what_they_took() -> None:
    inventory = ScriptedInventory(Sell=sale("o1"))
    client = inventory.client()
    for _ in range(200):
        client.sell_all(orders("o1"), Deadline.after(60))
    client.sell_all(orders("o1"), Deadline.after(0.2))
    first, *_, last, cut = inventory.timeouts("Sell")
    assert first == 2.0
    assert 0.5 <= last < 2.0
    assert 0 < cut <= 0.2


@pytest.mark.parametrize("method", ["Sell", "BatchSell"])
def test_sells_that_expire_raise_the_limit(method: str) -> None:
    expired = FailedCall(grpc.StatusCode.DEADLINE_EXCEEDED)
    inventory = ScriptedInventory(BatchGetSales=NO_SALES, **{method: expired})
    client = inventory.client()
    group = orders("o1", "o2") if method == "BatchSell" else orders("o1")
    for _ in range(100):
        client.sell_all(group, Deadline.after(60))
    client.sell_all(group, Deadline.after(60))
    assert inventory.timeouts(method)[-1] == pytest.approx(4, abs=0.1)


@pytest.mark.parametrize(
    "wrong",
    [
        orders(*(f"o{n}" for n in range(MOST_ORDERS + 1))),
        orders("o1", "o1"),
        [OrderToSell(f"o{n}", [Line(f"s{m}", "", 1, 1) for m in range(100)]) for n in range(MOST_LINES // 100 + 1)],
        [OrderToSell(f"o{n}", [Line("x" * 600_000, "", 1, 1)]) for n in range(2)],
    ],
)
def test_more_than_inventory_takes_is_a_bug_of_the_caller(wrong: list[OrderToSell]) -> None:
    inventory = ScriptedInventory()
    with pytest.raises(AssertionError):
        inventory.client().sell_all(wrong, Deadline.after(TIMEOUT_S))
    assert inventory.calls == []
