"""Wires the service by hand: the only place that picks drivers."""

from functools import cached_property
from pathlib import Path
from typing import Final

import grpc

from common.addresses import advertised_address
from common.clock import Clock
from common.crash_points import CrashHook, crash_at
from common.database import Database
from common.discovery.drivers import open_discovery
from common.discovery.port import Discovery
from common.messaging.drivers import open_broker
from common.messaging.port import Broker
from common.rpc.channel import open_channel
from common.rpc.server import BROKER, Server
from order_srv.adapters.cart_repository import CartRepository
from order_srv.adapters.goods_repository import GoodsRepository
from order_srv.adapters.order_repository import OrderRepository
from order_srv.adapters.owed_returns import OwedReturns
from order_srv.adapters.payment_repository import PaymentRepository
from order_srv.adapters.stock_client import PROBE, SELLS, StockClient
from order_srv.adapters.sweep_repository import SweepRepository
from order_srv.domain.messages import ORDER_REBACK
from order_srv.entrypoints import consumers
from order_srv.entrypoints.check_back import CheckBack
from order_srv.entrypoints.servicer import OrderServicer, UseCases
from order_srv.entrypoints.sweeper import Sweeper
from order_srv.settings import INVENTORY, OrderSettings
from order_srv.use_cases.cart import Cart
from order_srv.use_cases.close_order import CloseOrder
from order_srv.use_cases.create_group import CreateGroup
from order_srv.use_cases.create_order import CreateOrder
from order_srv.use_cases.create_pricing import CreatePricing
from order_srv.use_cases.finish_order import FinishOrder
from order_srv.use_cases.pay_order import PayOrder
from order_srv.use_cases.price_book import PriceBook
from order_srv.use_cases.queries import Queries
from reback.inventory.v1.inventory_pb2_grpc import InventoryServiceStub
from reback.order.v1.order_pb2_grpc import add_OrderServiceServicer_to_server

SERVICE: Final = "order-srv"
"""The service's name in the registry."""

MIGRATIONS: Final = Path(__file__).parent / "adapters" / "migrations"

_FULL_NAME: Final = "reback.order.v1.OrderService"
_MORE_CONNECTIONS: Final = 48  # than threads: for message handlers, check-backs and the sweeper


class OrderService:
    """The whole service in one process. Nothing is open before `start`, and nothing after `stop`.

    Attributes:
        address: `host:port` it serves at; known once started.
        use_cases, check_back, sweeper: Here for tests.
    """

    def __init__(
        self,
        *,
        server: Server,
        database: Database,
        broker: Broker,
        discovery: Discovery,
        advertise: str,
        inventory: grpc.Channel,
        use_cases: UseCases,
        check_back: CheckBack,
        sweeper: Sweeper,
    ) -> None:
        self.use_cases = use_cases
        self.check_back = check_back
        self.sweeper = sweeper
        self._server = server
        self._database = database
        self._broker = broker
        self._discovery = discovery
        self._advertise = advertise
        self._inventory = inventory

    @property
    def address(self) -> str:
        return self._server.address

    @cached_property
    def _advertised(self) -> str:
        return advertised_address(self.address, self._advertise)

    def start(self) -> None:
        """Bring the tables up to date, serve, listen to the broker, sweep, tell the registry."""
        self._database.migrate(MIGRATIONS)
        self._server.start()
        self._broker.start()
        self.sweeper.start()
        self._discovery.register(SERVICE, self._advertised)

    def stop(self) -> None:
        """Leave the registry, finish what was accepted, close everything."""
        self._discovery.deregister(SERVICE, self._advertised)
        self._server.drain()
        self.sweeper.stop()
        self._broker.close()
        self._inventory.close()
        self._discovery.close()
        self._database.close()


def build(
    settings: OrderSettings,
    *,
    clock: Clock | None = None,
    crash_hook: CrashHook | None = None,
    database: Database | None = None,
    broker: Broker | None = None,
    discovery: Discovery | None = None,
) -> OrderService:
    """Make the service of these settings; what is given is used instead of what the settings name."""
    crash_hook = crash_hook or crash_at(settings.crash_at)
    database = database or Database(settings.database_url, connections=settings.threads + _MORE_CONNECTIONS)
    clock = clock or database.clock()
    broker = broker or open_broker(settings.broker_url, topic_prefix=settings.topic_prefix, clock=clock)
    discovery = discovery or open_discovery(settings.discovery_url)
    inventory = open_channel(discovery, INVENTORY, never_repeated=SELLS, probe=PROBE)
    stock = StockClient(InventoryServiceStub(inventory))
    orders = OrderRepository(database, return_after=settings.return_after)
    sweeper = _sweeper(settings, database, stock, clock, crash_hook)
    owed_returns = OwedReturns(orders, sweeper.wake)
    use_cases = _use_cases(settings, database, orders, owed_returns, stock, broker, clock, crash_hook)
    check_back = CheckBack(
        orders=orders,
        clock=clock,
        creating_grace=settings.creating_grace,
        owed_returns=owed_returns,
        crash_hook=crash_hook,
    )
    broker.answer_check_backs(ORDER_REBACK, check_back.answer)
    consumers.subscribe(broker, use_cases.close_order)
    server = _server(settings, use_cases)
    _report_health(broker, server)
    return OrderService(
        server=server,
        database=database,
        broker=broker,
        discovery=discovery,
        advertise=settings.advertise,
        inventory=inventory,
        use_cases=use_cases,
        check_back=check_back,
        sweeper=sweeper,
    )


def _sweeper(
    settings: OrderSettings, database: Database, stock: StockClient, clock: Clock, crash_hook: CrashHook
) -> Sweeper:
    return Sweeper(
        orders=SweepRepository(database),
        stock=stock,
        clock=clock,
        every=settings.sweep_every,
        grace=settings.sweep_grace,
        creating_grace=settings.creating_grace,
        crash_hook=crash_hook,
    )


def _use_cases(  # noqa: PLR0917 - the parts of `build`, in its order
    settings: OrderSettings,
    database: Database,
    orders: OrderRepository,
    owed_returns: OwedReturns,
    stock: StockClient,
    broker: Broker,
    clock: Clock,
    crash_hook: CrashHook,
) -> UseCases:
    goods, carts = GoodsRepository(database), CartRepository(database)
    group = CreateGroup(
        orders=orders,
        pricing=CreatePricing(goods=goods, carts=carts, clock=clock, pay_within=settings.pay_within),
        stock=stock,
        broker=broker,
        clock=clock,
        owed_returns=owed_returns,
        crash_hook=crash_hook,
    )
    close_order = CloseOrder(
        orders=orders,
        broker=broker,
        clock=clock,
        creating_grace=settings.creating_grace,
        owed_returns=owed_returns,
        crash_hook=crash_hook,
    )
    payments = PaymentRepository(database, crash_hook=crash_hook)
    return UseCases(
        goods=PriceBook(goods=goods, clock=clock),
        cart=Cart(carts=carts, goods=goods, clock=clock),
        create_order=CreateOrder(orders=orders, group=group, waiters=settings.threads // 4),
        close_order=close_order,
        pay_order=PayOrder(orders=orders, payments=payments, clock=clock, crash_hook=crash_hook),
        finish_order=FinishOrder(orders=orders, clock=clock),
        queries=Queries(database),
    )


def _server(settings: OrderSettings, use_cases: UseCases) -> Server:
    server = Server(
        "order",
        settings.listen,
        threads=settings.threads,
        reflection=settings.reflection,
        longest={f"/{_FULL_NAME}/CreateOrder": settings.longest_create},
    )
    server.add(_FULL_NAME, add_OrderServiceServicer_to_server, OrderServicer(use_cases))
    return server


def _report_health(broker: Broker, server: Server) -> None:
    """Report the service as unhealthy while the broker is out of reach: another replica may be able to create orders.

    Orders can still be read, paid and finished: the health of the whole server, by which it is called, is not touched.
    """

    def tell(reachable: bool) -> None:  # noqa: FBT001 - what the port's listeners are
        server.tell_health(BROKER, serving=reachable)
        server.tell_health(_FULL_NAME, serving=reachable)

    tell(True)  # noqa: FBT003
    broker.on_reachable(tell)
