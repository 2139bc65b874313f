"""Calls that a person can copy from the terminal, in Python and for grpcurl."""

import json
import shlex
import time
import uuid
from dataclasses import dataclass
from typing import Final

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from reback.inventory.v1.inventory_pb2 import GetStockRequest, ListMovementsRequest
from reback.order.v1 import order_pb2 as pb
from scripts.lib.services import Services
from scripts.lib.shop import CALL_TIMEOUT_S, Shop
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


@dataclass(frozen=True)
class WaitingOrder:
    """An order that waits to be paid, and the request that created it."""

    request: pb.CreateOrderRequest
    order: pb.Order


def waiting_order(shop: Shop, sku: str) -> WaitingOrder:
    """Create an order of one unit, so that every call that is printed works at once."""
    request = _create(sku)
    return WaitingOrder(request, shop.order.CreateOrder(request, timeout=CALL_TIMEOUT_S))


def _create(sku: str) -> pb.CreateOrderRequest:
    return pb.CreateOrderRequest(
        user_id=USER_ID,
        request_id=f"try-{uuid.uuid4()}",
        lines=[pb.CreateOrderLine(sku=sku, quantity=1)],
        recipient=_RECIPIENT,
    )


def calls(services: Services, sku: str, waiting: WaitingOrder | None) -> list[Call]:
    """Calls that work now.

    Args:
        services: Where they go.
        sku: Something that can be bought.
        waiting: An order to pay; None: whoever reads them puts in what CreateOrder answers.
    """
    inventory, order = services.inventory.address, services.order.address
    create = waiting.request if waiting else _create(sku)
    paid = waiting.order if waiting else pb.Order(order_sn="ORDER_SN", total_cents=100, currency="EUR")
    pay = pb.PayOrderRequest(
        order_sn=paid.order_sn,
        payment_id=f"try-{uuid.uuid4()}",
        amount_cents=paid.total_cents,
        currency=paid.currency,
        pay_type="card",
        paid_time=Timestamp(seconds=int(time.time())),
    )
    of_it = "" if waiting else "; put in what CreateOrder answers"
    return [
        Call("the stock of a sku", inventory, _INVENTORY, "GetStock", GetStockRequest(sku=sku)),
        Call("an order; sent again it is the same one", order, _ORDER, "CreateOrder", create),
        Call(f"its payment{of_it}", order, _ORDER, "PayOrder", pay),
        Call("your orders", order, _ORDER, "ListOrders", pb.ListOrdersRequest(user_id=USER_ID, page_size=3)),
        Call(
            f"what the order went through{of_it}",
            order,
            _ORDER,
            "GetOrderTimeline",
            pb.GetOrderTimelineRequest(order_sn=paid.order_sn),
        ),
        Call("every change of a stock", inventory, _INVENTORY, "ListMovements", ListMovementsRequest(sku=sku)),
    ]


def python_program(services: Services, sku: str) -> str:
    """A program that creates an order and pays it, as lines for a shell."""
    return f"""\
.venv/bin/python - <<'END'
import uuid
import grpc
from google.protobuf.timestamp_pb2 import Timestamp
from reback.order.v1 import order_pb2, order_pb2_grpc

orders = order_pb2_grpc.OrderServiceStub(grpc.insecure_channel({services.order.address!r}))
order = orders.CreateOrder(order_pb2.CreateOrderRequest(
    user_id={USER_ID},
    request_id=str(uuid.uuid4()),
    lines=[order_pb2.CreateOrderLine(sku={sku!r}, quantity=1)],
    recipient=order_pb2.Recipient(name="You", mobile="123", address="Home"),
))
print(order)
now = Timestamp()
now.GetCurrentTime()
print(orders.PayOrder(order_pb2.PayOrderRequest(
    order_sn=order.order_sn,
    payment_id=str(uuid.uuid4()),
    amount_cents=order.total_cents,
    currency=order.currency,
    pay_type="card",
    paid_time=now,
)))
END"""
