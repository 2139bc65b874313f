"""A strategy behind the real Sell."""

from pathlib import Path

import grpc
import pytest

from common.rpc.errors import to_domain_error
from reback.inventory.v1 import inventory_pb2 as pb
from reback.inventory.v1.inventory_pb2_grpc import InventoryServiceStub
from scripts.bench.strategies.server import Settings, StrategyService
from tests.component.strategies.tables import Tables
from tests.support.databases import url_of
from tests.support.waiting import TIMEOUT_S


def request(order_sn: str, *lines: tuple[str, int]) -> pb.SellRequest:
    return pb.SellRequest(order_sn=order_sn, lines=[pb.SaleLine(sku=sku, quantity=units) for sku, units in lines])


def test_a_strategy_answers_as_reback_does(tables: Tables, tmp_path: Path) -> None:
    tables.put(cup=3, tea=1)
    service = StrategyService(
        Settings(
            name="conditional-update", database_url=url_of(tmp_path, "strategies"), redis_url="redis://127.0.0.1:1/0"
        )
    )
    service.start()
    try:
        with grpc.insecure_channel(service.address) as channel:
            stub = InventoryServiceStub(channel)
            sale = stub.Sell(request("order", ("tea", 1), ("cup", 1), ("cup", 1)), timeout=TIMEOUT_S)
            assert (sale.order_sn, sale.state) == ("order", pb.SALE_STATE_SOLD)
            assert [(line.sku, line.quantity) for line in sale.lines] == [("cup", 2), ("tea", 1)]

            refused = {"other": "NO_STOCK", "order": "DIFFERENT_CONTENT"}
            for (order_sn, reason), units in zip(refused.items(), (2, 1), strict=True):
                with pytest.raises(grpc.RpcError) as error:
                    stub.Sell(request(order_sn, ("cup", units)), timeout=TIMEOUT_S)
                assert to_domain_error(error.value).reason == reason
    finally:
        service.stop()
    assert tables.sold() == {"cup": 2, "tea": 1}
    assert tables.available("cup") == 1
