"""The whole inventory service in this process, and a client of it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from inventory_srv.bootstrap import InventoryService, build
from inventory_srv.settings import InventorySettings
from reback.inventory.v1 import inventory_pb2 as pb
from reback.inventory.v1.inventory_pb2_grpc import InventoryServiceStub
from tests.support.databases import url_of
from tests.support.waiting import TIMEOUT_S


class RunningService:
    """A service and a client.

    Attributes:
        stub: Calls as they are.
        service: The service itself.
        folder: Where its files are.
    """

    def __init__(self, service: InventoryService, stub: InventoryServiceStub, folder: Path) -> None:
        self.service = service
        self.stub = stub
        self.folder = folder

    def stock_up(self, **available: int) -> None:
        for sku, units in available.items():
            self.stub.SetStock(pb.SetStockRequest(sku=sku, quantity=units), timeout=TIMEOUT_S)

    def sell(self, order_sn: str, lines: Mapping[str, int]) -> pb.Sale:
        return self.stub.Sell(sell_request(order_sn, lines), timeout=TIMEOUT_S)

    def reback(self, order_sn: str, reason: str = "close") -> pb.Sale:
        return self.stub.Reback(pb.RebackRequest(order_sn=order_sn, reason=reason), timeout=TIMEOUT_S)

    def units(self, sku: str) -> tuple[int, int]:
        """What is available and what is sold."""
        stock = self.stub.GetStock(pb.GetStockRequest(sku=sku), timeout=TIMEOUT_S)
        return stock.available, stock.sold

    def differences(self) -> list[pb.StockDifference]:
        return list(self.stub.AuditStock(pb.AuditStockRequest(page_size=1000), timeout=TIMEOUT_S).differences)


def sell_request(order_sn: str, lines: Mapping[str, int]) -> pb.SellRequest:
    return pb.SellRequest(order_sn=order_sn, lines=[pb.SaleLine(sku=sku, quantity=n) for sku, n in lines.items()])


def settings_for(folder: Path, **more: Any) -> InventorySettings:
    here = {
        "listen": "127.0.0.1:0",
        "database_url": url_of(folder, "inventory"),
        "broker_url": f"embedded:///{folder}/broker.db",
        "threads": 16,
    }
    return InventorySettings.model_validate(here | more)  # not from the environment


@contextmanager
def running_service(folder: Path, settings: Mapping[str, Any] | None = None, **parts: Any) -> Iterator[RunningService]:
    """The service; `parts` are for `build`."""
    service = build(settings_for(folder, **(settings or {})), **parts)
    service.start()
    try:
        with grpc.insecure_channel(service.address) as channel:
            yield RunningService(service, InventoryServiceStub(channel), folder)
    finally:
        service.stop()
