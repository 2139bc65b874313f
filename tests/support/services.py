"""Both services in this process, over real gRPC, in the world (`tests.support.worlds`) of a test's folder."""

import itertools
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import grpc

import inventory_srv.bootstrap
import order_srv.bootstrap
from inventory_srv.bootstrap import InventoryService
from inventory_srv.settings import InventorySettings
from order_srv.bootstrap import OrderService
from order_srv.settings import OrderSettings
from reback.inventory.v1 import inventory_pb2 as stock_pb
from reback.inventory.v1.inventory_pb2_grpc import InventoryServiceStub
from reback.order.v1 import order_pb2 as pb
from reback.order.v1.order_pb2_grpc import OrderServiceStub
from tests.support.books import Books, assert_books_balance
from tests.support.databases import url_of
from tests.support.waiting import TIMEOUT_S, wait_until
from tests.support.worlds import world_of

_CHANNEL_OPTIONS: Final = (
    ("grpc.lb_policy_name", "round_robin"),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.use_local_subchannel_pool", 1),  # else a new channel shares the back-off of an older one
)

RECIPIENT: Final = pb.Recipient(name="Ada", mobile="+44 1", address="1 Byron Street")


class Services:
    """Both services and a client of each.

    Attributes:
        folder: Where their databases and the broker's file are.
        inventory, order: Stubs with which a test calls them. A call without a deadline gets `TIMEOUT_S`.
        inventory_service, order_service: The services themselves.
    """

    def __init__(self, folder: Path, inventory_service: InventoryService, order_service: OrderService) -> None:
        self.folder = folder
        self.inventory_service = inventory_service
        self.order_service = order_service
        self._channels = [channel_with_timeout(each.address) for each in (inventory_service, order_service)]
        self.inventory = InventoryServiceStub(self._channels[0])
        self.order = OrderServiceStub(self._channels[1])
        self._users = itertools.count(1)
        self.users: set[int] = set()

    @property
    def pay_within(self) -> timedelta:
        return self.order_service.use_cases.create_order.group._pricing.pay_within

    def close(self) -> None:
        for channel in self._channels:
            channel.close()

    def new_user(self) -> int:
        """A user who never ordered before."""
        user = next(self._users)
        self.users.add(user)
        return user

    def new_sku(self, available: int | None = 10, price_cents: int | None = 250, **goods: Any) -> str:
        """A sku of its own in the price book and in stock; `available` None: inventory never heard of it."""
        sku = f"sku-{uuid4().hex[:12]}"
        self.put_goods(sku, price_cents, **goods)
        if available is not None:
            self.inventory.SetStock(stock_pb.SetStockRequest(sku=sku, quantity=available))
        return sku

    def put_goods(self, sku: str, price_cents: int | None = 250, **goods: Any) -> pb.Goods:
        entry = {"name": f"name of {sku}", "currency": "EUR", "on_sale": True, **goods}
        return self.order.PutGoods(pb.PutGoodsRequest(goods=pb.Goods(sku=sku, price_cents=price_cents, **entry)))

    def stock(self, sku: str) -> stock_pb.Stock:
        return self.inventory.GetStock(stock_pb.GetStockRequest(sku=sku))

    def available(self, sku: str) -> int:
        return self.stock(sku).available

    def create(self, user: int, lines: Mapping[str, int], **more: Any) -> pb.Order:
        """An order of these skus and quantities; empty: of the cart."""
        return self.order.CreateOrder(create_request(user, lines, **more))

    def pay(self, order: pb.Order, **more: Any) -> pb.PayOrderResponse:
        """Pay an order in full, with a payment of its own unless `more` says otherwise."""
        return self.order.PayOrder(pay_request(order, **more))

    def get(self, order: pb.Order) -> pb.Order:
        return self.order.GetOrder(pb.GetOrderRequest(user_id=order.user_id, order_sn=order.order_sn))

    def orders_of(self, user: int, **more: Any) -> list[pb.Order]:
        return list(self.order.ListOrders(pb.ListOrdersRequest(user_id=user, page_size=1000, **more)).orders)

    def steps(self, order_sn: str) -> list[str]:
        """The kinds of an order's steps so far, oldest first."""
        events = self.order.GetOrderTimeline(pb.GetOrderTimelineRequest(order_sn=order_sn, page_size=1000)).events
        return [pb.OrderEventKind.Name(event.kind).removeprefix("ORDER_EVENT_KIND_") for event in events]

    def own_steps(self, order_sn: str) -> list[str]:
        """Its steps but for the broker's questions, which come as well when the machine is slow."""
        return [step for step in self.steps(order_sn) if step != "ASKED_BY_BROKER"]

    def wait_for_state(self, order: pb.Order, state: "pb.OrderState.ValueType") -> pb.Order:
        wait_until(lambda: self.get(order).state == state, f"{order.order_sn} is {pb.OrderState.Name(state)}")
        return self.get(order)

    def wait_for_step(self, order_sn: str, kind: str) -> None:
        wait_until(lambda: kind in self.steps(order_sn), f"{order_sn} takes the step {kind}")

    def wait_for_available(self, sku: str, available: int) -> None:
        wait_until(lambda: self.available(sku) == available, f"{available} of {sku} available")

    def assert_books_balance(self) -> Books:
        return assert_books_balance(self.inventory, self.order, users=self.users, timeout_s=TIMEOUT_S)


def create_request(user: int, lines: Mapping[str, int], **more: Any) -> pb.CreateOrderRequest:
    fields = {"request_id": uuid4().hex, "recipient": RECIPIENT, **more}
    wanted = [pb.CreateOrderLine(sku=sku, quantity=quantity) for sku, quantity in lines.items()]
    return pb.CreateOrderRequest(user_id=user, lines=wanted, **fields)


def pay_request(order: pb.Order, **more: Any) -> pb.PayOrderRequest:
    fields = {
        "payment_id": uuid4().hex,
        "amount_cents": order.total_cents,
        "currency": order.currency,
        "pay_type": "card",
        "paid_time": order.create_time,
        **more,
    }
    return pb.PayOrderRequest(order_sn=order.order_sn, **fields)


def inventory_settings(folder: Path, **more: Any) -> InventorySettings:
    short = {
        "listen": "127.0.0.1:0",
        "database_url": url_of(folder, "inventory"),
        "lock_url": world_of(folder).lock_url,
        "cache_url": world_of(folder).cache_url,
        **world_of(folder).broker(),
        "threads": 32,
    }
    return InventorySettings.model_validate(short | more)  # not from the environment


def order_settings(folder: Path, inventory_address: str, **more: Any) -> OrderSettings:
    short = {
        "listen": "127.0.0.1:0",
        "database_url": url_of(folder, "order"),
        **world_of(folder).broker(),
        "discovery_url": f"static://?inventory-srv={inventory_address}",
        "threads": 32,
        "pay_within": 600,
        "creating_grace": 20,
        "sweep_every": 0.2,
        "sweep_grace": 1,
        "return_after": 0.3,
    }
    return OrderSettings.model_validate(short | more)  # not from the environment


@contextmanager
def running_inventory(
    folder: Path, settings: Mapping[str, Any] | None = None, **parts: Any
) -> Iterator[InventoryService]:
    """The inventory service, with what of `inventory_srv.bootstrap.build` is to be replaced."""
    service = inventory_srv.bootstrap.build(inventory_settings(folder, **(settings or {})), **parts)
    service.start()
    try:
        yield service
    finally:
        service.stop()


@contextmanager
def running_order(
    folder: Path, inventory_address: str, settings: Mapping[str, Any] | None = None, **parts: Any
) -> Iterator[OrderService]:
    """The order service, with what of `order_srv.bootstrap.build` is to be replaced."""
    service = order_srv.bootstrap.build(order_settings(folder, inventory_address, **(settings or {})), **parts)
    service.start()
    try:
        yield service
    finally:
        service.stop()


@contextmanager
def running_services(
    folder: Path,
    settings: Mapping[str, Any] | None = None,
    *,
    inventory_settings: Mapping[str, Any] | None = None,
    inventory_parts: Mapping[str, Any] | None = None,
    **parts: Any,
) -> Iterator[Services]:
    """Both services; `settings` and `parts` are the order service's."""
    with (
        running_inventory(folder, inventory_settings, **(inventory_parts or {})) as inventory,
        running_order(folder, inventory.address, settings, **parts) as order,
    ):
        services = Services(folder, inventory, order)
        try:
            yield services
        finally:
            services.close()


class _DefaultTimeout(grpc.UnaryUnaryClientInterceptor):
    """Gives a call that has no deadline a generous one, so that no test can hang."""

    def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
        if client_call_details.timeout is None:
            client_call_details = client_call_details._replace(timeout=TIMEOUT_S)
        return continuation(client_call_details, request)


def channel_with_timeout(address: str) -> grpc.Channel:
    """A client's channel to one service; `ipv4:host:port,host:port`: to its replicas, in turns."""
    return grpc.intercept_channel(grpc.insecure_channel(address, _CHANNEL_OPTIONS), _DefaultTimeout())
