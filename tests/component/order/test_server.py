"""The order service as its neighbours see it: its health, what it says of itself, how it ends."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from order_srv.crash_points import CrashPoint
from reback.inventory.v1 import inventory_pb2 as stock_pb
from reback.order.v1 import order_pb2 as pb
from tests.component.order.conftest import Open
from tests.support.holds import Holds
from tests.support.services import Services
from tests.support.waiting import TIMEOUT_S, wait_until

ORDER, INVENTORY = "reback.order.v1.OrderService", "reback.inventory.v1.InventoryService"


def test_both_services_are_healthy_and_list_themselves(open_services: Open) -> None:
    services = open_services()
    for service, name in ((services.order_service, ORDER), (services.inventory_service, INVENTORY)):
        with grpc.insecure_channel(service.address) as channel:
            for asked in (name, "", "grpc.health.v1.Health"):
                health = HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=asked), timeout=TIMEOUT_S)
                assert health.status == health_pb2.HealthCheckResponse.SERVING, (name, asked)
            listed = set(ProtoReflectionDescriptorDatabase(channel).get_services())
            assert {name, "grpc.health.v1.Health"} <= listed


@pytest.mark.parametrize(("name", "contract"), [(ORDER, pb), (INVENTORY, stock_pb)])
def test_reflection_tells_the_contract_as_it_is(open_services: Open, name: str, contract: object) -> None:
    services = open_services()
    service = services.order_service if name == ORDER else services.inventory_service
    with grpc.insecure_channel(service.address) as channel:
        file = ProtoReflectionDescriptorDatabase(channel).FindFileContainingSymbol(name)
    assert file.SerializeToString() == contract.DESCRIPTOR.serialized_pb  # type: ignore[attr-defined]


def test_reflection_can_be_turned_off(open_services: Open) -> None:
    services = open_services({"reflection": False})
    with grpc.insecure_channel(services.order_service.address) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        with pytest.raises(grpc.RpcError) as failure:
            database.get_services()
    assert failure.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_a_service_that_stops_finishes_the_order_it_was_making(
    open_services: Open, holds: Holds, callers: ThreadPoolExecutor
) -> None:
    services = open_services()
    user, sku = services.new_user(), services.new_sku(5)
    hold = holds.at(CrashPoint.CREATE_SOLD)
    creating = callers.submit(services.create, user, {sku: 2})
    hold.wait()

    stopping = callers.submit(services.order_service._server.drain)
    wait_until(lambda: is_gone(services), "it takes no new calls")
    hold.release()

    order = creating.result()
    assert order.state == pb.ORDER_STATE_UNPAID
    stopping.result(TIMEOUT_S)
    assert services.available(sku) == 3


def is_gone(services: Services) -> bool:
    """Whether a new call is not taken any more."""
    try:
        services.order.ListGoods(pb.ListGoodsRequest())
    except grpc.RpcError as error:
        assert error.code() is grpc.StatusCode.UNAVAILABLE  # noqa: PT017 - any other code is a failure
        return True
    return False
