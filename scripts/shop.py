"""Both services as a client sees them."""

from types import TracebackType
from typing import Final, Self

import grpc

from reback.inventory.v1.inventory_pb2_grpc import InventoryServiceStub
from reback.order.v1.order_pb2_grpc import OrderServiceStub

PATIENCE_S: Final = 10.0
"""How long a script waits for one answer."""


class Shop:
    """A connection to each service; a context manager, which closes them.

    Attributes:
        inventory: The inventory service's calls.
        order: The order service's calls.
    """

    def __init__(self, inventory_address: str, order_address: str) -> None:
        self._channels = [grpc.insecure_channel(address) for address in (inventory_address, order_address)]
        self.inventory = InventoryServiceStub(self._channels[0])
        self.order = OrderServiceStub(self._channels[1])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for channel in self._channels:
            channel.close()
