"""What health checking is told when the broker is cut off, and when it is back."""

from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from common.clock import SystemClock
from inventory_srv.bootstrap import build as build_inventory
from inventory_srv.settings import InventorySettings
from order_srv.bootstrap import build as build_order
from order_srv.settings import OrderSettings
from tests.support.scripted_broker import Engine, ScriptedBroker
from tests.support.waiting import TIMEOUT_S

INVENTORY, ORDER = "reback.inventory.v1.InventoryService", "reback.order.v1.OrderService"


class TellingBroker(ScriptedBroker):
    """A broker that tells what a test says."""

    def __init__(self) -> None:
        super().__init__(Engine(SystemClock()))

    def on_reachable(self, listener: Callable[[bool], None]) -> None:
        self.tell = listener


def healths(address: str, *names: str) -> list[str]:
    with grpc.insecure_channel(address) as channel:
        stub = HealthStub(channel)
        answers = [stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=TIMEOUT_S) for name in names]
    return [health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status) for answer in answers]


@pytest.mark.parametrize("reachable_again", [False, True])
def test_inventory_serves_on_and_tells_of_the_broker(tmp_path: Path, reachable_again: bool) -> None:
    broker = TellingBroker()
    values = {"listen": "127.0.0.1:0", "database_url": f"sqlite:///{tmp_path}/inventory.db"}
    service = build_inventory(InventorySettings.model_validate(values), broker=broker)
    try:
        service.start()
        assert healths(service.address, "", INVENTORY, "broker") == ["SERVING", "SERVING", "SERVING"]

        broker.tell(False)
        if reachable_again:
            broker.tell(True)

        of_broker = "SERVING" if reachable_again else "NOT_SERVING"
        assert healths(service.address, "", INVENTORY, "broker") == ["SERVING", "SERVING", of_broker]
    finally:
        service.stop()


@pytest.mark.parametrize("reachable_again", [False, True])
def test_order_can_create_none_and_tells_so_but_is_still_called(tmp_path: Path, reachable_again: bool) -> None:
    broker = TellingBroker()
    values = {"listen": "127.0.0.1:0", "database_url": f"sqlite:///{tmp_path}/order.db"}
    service = build_order(OrderSettings.model_validate(values), broker=broker)
    try:
        service.start()
        assert healths(service.address, "", ORDER, "broker") == ["SERVING", "SERVING", "SERVING"]

        broker.tell(False)
        if reachable_again:
            broker.tell(True)

        answer = "SERVING" if reachable_again else "NOT_SERVING"
        assert healths(service.address, "", ORDER, "broker") == ["SERVING", answer, answer]
    finally:
        service.stop()
