import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import grpc
import pytest

from common.discovery.port import Addresses, Discovery
from common.rpc.server import Server
from reback.inventory.v1 import inventory_pb2, inventory_pb2_grpc
from tests.support.waiting import TIMEOUT_S

SERVICE = inventory_pb2.DESCRIPTOR.services_by_name["InventoryService"].full_name
GET_STOCK = f"/{SERVICE}/GetStock"
SELL = f"/{SERVICE}/Sell"

Handler = Callable[[Any, grpc.ServicerContext], Any]


class Inventory(inventory_pb2_grpc.InventoryServiceServicer):
    """Answers GetStock and Sell as the test says, and counts the calls that reached it."""

    def __init__(self, get_stock: Handler | None = None, sell: Handler | None = None) -> None:
        self.calls: list[str] = []
        self._get_stock = get_stock or (lambda request, _: inventory_pb2.Stock(sku=request.sku, available=7))
        self._sell = sell or (lambda request, _: inventory_pb2.Sale(order_sn=request.order_sn))

    def GetStock(self, request: Any, context: Any) -> Any:  # noqa: N802 the RPC's name
        self.calls.append(request.sku)
        return self._get_stock(request, context)

    def Sell(self, request: Any, context: Any) -> Any:  # noqa: N802 the RPC's name
        self.calls.append(request.order_sn)
        return self._sell(request, context)


@dataclass
class Served:
    server: Server
    inventory: Inventory
    channel: grpc.Channel
    """A channel as any client might make it: gRPC's defaults."""

    @property
    def stub(self) -> inventory_pb2_grpc.InventoryServiceStub:
        return inventory_pb2_grpc.InventoryServiceStub(self.channel)

    def get(self, sku: str = "tea", timeout: float | None = TIMEOUT_S) -> inventory_pb2.Stock:
        return self.stub.GetStock(inventory_pb2.GetStockRequest(sku=sku), timeout=timeout)


Serve = Callable[..., Served]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts a server in this process: `serve(get_stock, sell, **options of Server)`."""
    all_served: list[Served] = []

    def start(get_stock: Handler | None = None, sell: Handler | None = None, **options: Any) -> Served:
        server = Server("inventory", options.pop("listen", "127.0.0.1:0"), **{"threads": 8, **options})
        inventory = Inventory(get_stock, sell)  # type: ignore[abstract] # the rest is unimplemented
        server.add(SERVICE, inventory_pb2_grpc.add_InventoryServiceServicer_to_server, inventory)
        server.start()
        all_served.append(Served(server, inventory, grpc.insecure_channel(server.address)))
        return all_served[-1]

    yield start
    for served in all_served:
        served.channel.close()
        served.server.drain(timedelta(seconds=5))


class Registry(Discovery):
    """A registry whose list the test changes."""

    def __init__(self) -> None:
        self._watchers: list[Callable[[Addresses], None]] = []
        self._addresses: Addresses = ()

    def register(self, service: str, address: str) -> None:
        self.change(*self._addresses, address)

    def deregister(self, service: str, address: str) -> None:
        self.change(*(each for each in self._addresses if each != address))

    def watch(self, service: str, on_change: Callable[[Addresses], None]) -> None:
        self._watchers.append(on_change)
        on_change(self._addresses)

    def close(self) -> None: ...

    def change(self, *addresses: str) -> None:
        self._addresses = tuple(sorted(addresses))
        for tell in self._watchers:
            tell(self._addresses)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as made:
        yield made


class Held:
    """A handler that says when it began, and ends when told."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.go_on = threading.Event()

    def __call__(self, request: Any, _: Any) -> inventory_pb2.Stock:
        self.begun.release()
        assert self.go_on.wait(TIMEOUT_S)
        return inventory_pb2.Stock(sku=request.sku)


@pytest.fixture
def held() -> Iterator[Held]:
    made = Held()
    yield made
    made.go_on.set()
