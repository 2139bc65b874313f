"""Calls that a person can copy from the terminal, in Python and for grpcurl."""

import json
import shlex
import uuid
from dataclasses import dataclass
from typing import Final

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message

from reback.inventory.v1.inventory_pb2 import GetStockRequest, ListMovementsRequest
from reback.order.v1 import order_pb2 as pb
from scripts.lib.services import Services
from scripts.story.story import USER_ID

_INVENTORY: Final = "reback.inventory.v1.InventoryService"
_ORDER: Final = "reback.order.v1.OrderService"
_RECIPIENT: Final = pb.Recipient(name="You", mobile="123", address="Home")


@dataclass(frozen=True)
class Call:
    """One call: what it is good for, where it goes, and what it sends."""

    purpose: str
    address: str
    service: str
    method: str
    request: Message

    @property
    def grpcurl(self) -> str:
        body = json.dumps(MessageToDict(self.request, preserving_proto_field_name=True), ensure_ascii=False)
        return f"grpcurl -plaintext -d {shlex.quote(body)} {self.address} {self.service}/{self.method}"


def calls(services: Services, sku: str, order_sn: str) -> list[Call]:
    """Calls that work now.

    Args:
        services: Where they go.
        sku: Something that can be bought.
        order_sn: An order that there is.
    """
    inventory, order = services.inventory.address, services.order.address
    create = pb.CreateOrderRequest(
        user_id=USER_ID,
        request_id=f"try-{uuid.uuid4()}",
        lines=[pb.CreateOrderLine(sku=sku, quantity=1)],
        recipient=_RECIPIENT,
    )
    return [
        Call("the stock of a sku", inventory, _INVENTORY, "GetStock", GetStockRequest(sku=sku)),
        Call("an order; sent again it is the same one", order, _ORDER, "CreateOrder", create),
        Call("your orders", order, _ORDER, "ListOrders", pb.ListOrdersRequest(user_id=USER_ID, page_size=3)),
        Call(
            "what an order went through",
            order,
            _ORDER,
            "GetOrderTimeline",
            pb.GetOrderTimelineRequest(order_sn=order_sn),
        ),
        Call("every change of a stock", inventory, _INVENTORY, "ListMovements", ListMovementsRequest(sku=sku)),
    ]


def python_program(services: Services, sku: str) -> str:
    """A program that creates an order, as lines for a shell."""
    return f"""\
.venv/bin/python - <<'END'
import uuid
import grpc
from reback.order.v1 import order_pb2, order_pb2_grpc

orders = order_pb2_grpc.OrderServiceStub(grpc.insecure_channel({services.order.address!r}))
print(orders.CreateOrder(order_pb2.CreateOrderRequest(
    user_id={USER_ID},
    request_id=str(uuid.uuid4()),
    lines=[order_pb2.CreateOrderLine(sku={sku!r}, quantity=1)],
    recipient=order_pb2.Recipient(name="You", mobile="123", address="Home"),
)))
END"""
