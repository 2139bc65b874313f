"""The stock client on a real channel, with a proxy in between that loses, delays or changes answers."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from threading import Event
from typing import Any

import pytest

from common.deadline import Deadline
from common.discovery.drivers import open_discovery
from common.errors import FailedPrecondition, ResourceExhausted
from common.rpc.channel import open_channel
from common.rpc.errors import to_status
from common.rpc.server import Server
from order_srv.adapters.sell_results import OrderToSell, Refused, SellResult, Sold, Unclear
from order_srv.adapters.stock_client import SELLS, StockClient
from order_srv.domain.order import Line
from reback.inventory.v1 import inventory_pb2 as pb
from reback.inventory.v1.inventory_pb2_grpc import (
    InventoryServiceServicer,
    InventoryServiceStub,
    add_InventoryServiceServicer_to_server,
)
from tests.component.rpc.conftest import SERVICE
from tests.support.inventory_proxy import InventoryProxy, proxied
from tests.support.waiting import TIMEOUT_S, wait_until


class Inventory(InventoryServiceServicer):
    """Sells whatever is asked for, but for orders whose number begins with `short`."""

    def __init__(self) -> None:
        self.sold: list[str] = []
        self.overloaded = False

    def Sell(self, request: pb.SellRequest, _: Any) -> pb.Sale:  # noqa: N802 the RPC's name
        self._check_load()
        return self._sell(request)

    def BatchSell(self, request: pb.BatchSellRequest, _: Any) -> pb.BatchSellResponse:  # noqa: N802
        self._check_load()
        return pb.BatchSellResponse(results=map(self._result, request.sells))

    def BatchGetSales(self, request: pb.BatchGetSalesRequest, _: Any) -> pb.BatchGetSalesResponse:  # noqa: N802
        return pb.BatchGetSalesResponse(sales=[sale(each) for each in request.order_sns if each in self.sold])

    def _check_load(self) -> None:
        if self.overloaded:
            raise ResourceExhausted("the queue is full", reason="STOCK_BUSY")

    def _sell(self, request: pb.SellRequest) -> pb.Sale:
        if request.order_sn.startswith("short"):
            raise FailedPrecondition("short", reason="NO_STOCK")
        self.sold.append(request.order_sn)
        return sale(request.order_sn)

    def _result(self, request: pb.SellRequest) -> pb.SellResult:
        try:
            return pb.SellResult(order_sn=request.order_sn, sale=self._sell(request))
        except FailedPrecondition as refused:
            return pb.SellResult(order_sn=request.order_sn, error=to_status(refused, "inventory"))


def sale(order_sn: str) -> pb.Sale:
    return pb.Sale(order_sn=order_sn, state=pb.SALE_STATE_SOLD)


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def inventory() -> Inventory:
    return Inventory()  # type: ignore[abstract] # the rest is unimplemented


@pytest.fixture
def proxy(closing: ExitStack, inventory: Inventory) -> InventoryProxy:
    server = Server("inventory", "127.0.0.1:0", threads=8)
    server.add(SERVICE, add_InventoryServiceServicer_to_server, inventory)
    server.start()
    closing.callback(server.drain, timedelta(seconds=5))
    return closing.enter_context(proxied(server.address))


@pytest.fixture
def stock(closing: ExitStack, proxy: InventoryProxy) -> StockClient:
    discovery = open_discovery(f"static://?inventory-srv={proxy.address}")
    channel = closing.enter_context(open_channel(discovery, "inventory-srv", never_repeated=SELLS))
    return StockClient(InventoryServiceStub(channel))


def sell(stock: StockClient, *order_sns: str, timeout_s: float = TIMEOUT_S) -> dict[str, SellResult]:
    orders = [OrderToSell(order_sn, [Line("tea", "Tea", 100, 1)]) for order_sn in order_sns]
    return stock.sell_all(orders, Deadline.after(timeout_s))


def kinds(results: dict[str, SellResult]) -> list[type[SellResult]]:
    return [type(result) for result in results.values()]


GROUPS = pytest.mark.parametrize(
    ("method", "order_sns"), [("Sell", ["o1"]), ("BatchSell", ["o1", "o2", "o3"])], ids=["one", "several"]
)


@GROUPS
def test_orders_are_sold_and_refused_each_for_itself(
    stock: StockClient, inventory: Inventory, method: str, order_sns: list[str]
) -> None:
    assert kinds(sell(stock, *order_sns)) == [Sold] * len(order_sns)
    assert kinds(sell(stock, "short1", "o9")) == [Refused, Sold]
    assert inventory.sold == [*order_sns, "o9"], method


@GROUPS
def test_a_sell_whose_answer_is_lost_is_never_repeated_and_found_sold(
    stock: StockClient, proxy: InventoryProxy, method: str, order_sns: list[str]
) -> None:
    proxy.lose_answers(method)
    assert kinds(sell(stock, *order_sns)) == [Sold] * len(order_sns)
    assert proxy.calls == {method: 1, "BatchGetSales": 1}


@GROUPS
def test_where_the_look_up_is_lost_as_well_they_are_unclear(
    stock: StockClient, proxy: InventoryProxy, method: str, order_sns: list[str]
) -> None:
    proxy.lose_answers(method, "BatchGetSales")
    assert kinds(sell(stock, *order_sns)) == [Unclear] * len(order_sns)
    assert proxy.calls[method] == 1


@GROUPS
def test_a_sell_that_has_not_arrived_in_time_is_unclear_and_still_arrives(
    stock: StockClient, proxy: InventoryProxy, inventory: Inventory, method: str, order_sns: list[str]
) -> None:
    for n in range(100):
        sell(stock, f"warm{n}")
    arrives = Event()
    proxy.before[method] = arrives.wait
    with ThreadPoolExecutor(1) as pool:
        results = pool.submit(sell, stock, *order_sns)
        assert kinds(results.result(TIMEOUT_S)) == [Unclear] * len(order_sns)
    assert proxy.calls["BatchGetSales"] == 1
    arrives.set()
    wait_until(lambda: inventory.sold[-len(order_sns) :] == order_sns, "it arrived")


@GROUPS
def test_an_answer_that_comes_late_is_found_sold_long_before(
    stock: StockClient, proxy: InventoryProxy, method: str, order_sns: list[str]
) -> None:
    for n in range(100):
        sell(stock, f"warm{n}")
    late = Event()
    proxy.after[method] = late.wait
    assert kinds(sell(stock, *order_sns)) == [Sold] * len(order_sns)
    late.set()


@GROUPS
def test_an_overloaded_inventory_refuses_all(
    stock: StockClient, inventory: Inventory, method: str, order_sns: list[str]
) -> None:
    inventory.overloaded = True
    results = sell(stock, *order_sns).values()
    assert {each.error.reason for each in results if isinstance(each, Refused)} == {"OVERLOADED"}
    assert inventory.sold == [], method


@GROUPS
def test_an_answer_too_large_for_grpc_came_after_the_sell_and_refuses_nobody(
    stock: StockClient, proxy: InventoryProxy, inventory: Inventory, method: str, order_sns: list[str]
) -> None:
    def swell(answer: Any) -> None:
        (answer if method == "Sell" else answer.results[0].sale).return_reason = "x" * 5_000_000

    proxy.change_answers(method, swell)
    proxy.lose_answers("BatchGetSales")
    assert kinds(sell(stock, *order_sns)) == [Unclear] * len(order_sns)
    assert inventory.sold == order_sns


def test_a_changed_answer_leaves_unclear_what_it_does_not_tell(stock: StockClient, proxy: InventoryProxy) -> None:
    def change(answer: pb.BatchSellResponse) -> None:
        first, *_ = answer.results
        del answer.results[1]
        answer.results.append(first)

    proxy.change_answers("BatchSell", change)
    proxy.lose_answers("BatchGetSales")
    assert kinds(sell(stock, "o1", "o2", "o3")) == [Unclear, Unclear, Sold]
