"""Both services as a client sees them."""

from types import TracebackType
from typing import Final, Self

import grpc

from reback.inventory.v1.inventory_pb2_grpc import InventoryServiceStub
from reback.order.v1.order_pb2_grpc import OrderServiceStub

CALL_TIMEOUT_S: Final = 10.0
"""How long a script waits for an answer, in seconds."""

_TAKES_TURNS: Final = (("grpc.lb_policy_name", "round_robin"),)


class Shop:
    """A connection to each service; a context manager, which closes them.

    Args:
        inventory_address, order_address: `host:port`; of several replicas, which are called in turns:
            `ipv4:host:port,host:port`.

    Attributes:
        inventory: The inventory service's calls.
        order: The order service's calls.
    """

    def __init__(self, inventory_address: str, order_address: str) -> None:
        addresses = (inventory_address, order_address)
        self._channels = [grpc.insecure_channel(address, _TAKES_TURNS) for address in addresses]
        self.inventory = InventoryServiceStub(self._channels[0])
        self.order = OrderServiceStub(self._channels[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for channel in self._channels:
            channel.close()
