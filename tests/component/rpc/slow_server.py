"""A server program for tests: it says where it listens, serves until told to stop, then prints every call it handled.

Arguments: seconds that a call takes; threads.
"""

import os
import sys
import time
from typing import Any

from common.process.stop_signal import StopSignal
from common.rpc.server import Server
from reback.inventory.v1 import inventory_pb2, inventory_pb2_grpc


class Inventory(inventory_pb2_grpc.InventoryServiceServicer):
    def __init__(self, seconds: float) -> None:
        self.handled: list[str] = []
        self._seconds = seconds

    def GetStock(self, request: Any, _: Any) -> inventory_pb2.Stock:  # noqa: N802 the RPC's name
        time.sleep(self._seconds)
        self.handled.append(request.sku)
        return inventory_pb2.Stock(sku=request.sku, version=os.getpid())  # who answered


def main() -> None:
    stop = StopSignal()
    inventory = Inventory(float(sys.argv[1]))  # type: ignore[abstract] # the rest is unimplemented
    server = Server("inventory", "127.0.0.1:0", threads=int(sys.argv[2]))
    service = inventory_pb2.DESCRIPTOR.services_by_name["InventoryService"].full_name
    server.add(service, inventory_pb2_grpc.add_InventoryServiceServicer_to_server, inventory)
    server.start()
    sys.stdout.write(f"ready on {server.address}\n")
    sys.stdout.flush()
    stop.wait()
    server.drain()
    sys.stdout.write("\n".join(inventory.handled))


if __name__ == "__main__":
    main()
