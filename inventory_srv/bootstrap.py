"""Wires the service by hand: the only place that picks drivers."""

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Final

from common.addresses import advertised_address
from common.cache.drivers import CACHES, open_cache
from common.cache.port import Cache
from common.clock import Clock
from common.crash_points import CrashHook, crash_at
from common.database import Database
from common.database.port import DatabaseUrl
from common.discovery.drivers import open_discovery
from common.discovery.port import Discovery
from common.driver_url import DriverUrl
from common.lock.drivers import open_lock
from common.lock.port import Lock
from common.messaging.drivers import open_broker
from common.messaging.port import Broker
from common.rpc.server import BROKER, Server
from inventory_srv.adapters.stock_cache import StockCache
from inventory_srv.entrypoints.consumers import GROUP, TOPIC, OrderRebackConsumer
from inventory_srv.entrypoints.servicer import InventoryServicer
from inventory_srv.entrypoints.translation import DOMAIN
from inventory_srv.settings import InventorySettings
from inventory_srv.use_cases.audit import Audit
from inventory_srv.use_cases.queries import Queries
from inventory_srv.use_cases.stock_writer import StockWriter
from reback.inventory.v1 import inventory_pb2_grpc

SERVICE: Final = "inventory-srv"
"""The service's name in the registry."""

MIGRATIONS: Final = Path(__file__).parent / "adapters" / "migrations"

_FULL_NAME: Final = "reback.inventory.v1.InventoryService"
_MORE_CONNECTIONS: Final = 16  # than threads: for the writer, and for what else a service may do


class InventoryService:
    """The whole service in one process. Nothing is open before `start`, and nothing after `stop`.

    Attributes:
        address: `host:port` it serves at; known once started.
        writer: Where changes of stock are put; here for tests.
        database: Where they are kept; here for tests.
    """

    def __init__(
        self,
        *,
        server: Server,
        database: Database,
        lock: Lock,
        cache: StockCache,
        broker: Broker,
        discovery: Discovery,
        advertise: str,
        writer: StockWriter,
    ) -> None:
        self.writer = writer
        self.database = database
        self._server = server
        self._lock = lock
        self._cache = cache
        self._broker = broker
        self._discovery = discovery
        self._advertise = advertise

    @property
    def address(self) -> str:
        return self._server.address

    @cached_property
    def _advertised(self) -> str:
        return advertised_address(self.address, self._advertise)

    def start(self) -> None:
        """Check the engines, bring the tables up to date, serve, listen to the broker, tell the registry.

        Raises:
            UnusableEngine: An engine or a file would break what the service promises.
        """
        self._lock.check_engine()
        self.database.migrate(MIGRATIONS)
        self.writer.start()
        self._server.start()
        self._broker.start()
        self._discovery.register(SERVICE, self._advertised)

    def stop(self) -> None:
        """Leave the registry, finish what was accepted, close everything."""
        self._discovery.deregister(SERVICE, self._advertised)
        self._server.drain()
        self._broker.close()
        self.writer.close()
        self._discovery.close()
        self._lock.close()
        self._cache.close()
        self.database.close()


def build(
    settings: InventorySettings,
    *,
    clock: Clock | None = None,
    crash_hook: CrashHook | None = None,
    open_database: Callable[[DatabaseUrl, int], Database] | None = None,
    broker: Broker | None = None,
    lock: Lock | None = None,
    cache: Cache | None = None,
    discovery: Discovery | None = None,
) -> InventoryService:
    """Make the service of these settings; what is given is used instead of what the settings name.

    `crash_hook` is called at every crash point. `open_database` makes a database of a URL and a number of
    connections.
    """
    crash_hook = crash_hook or crash_at(settings.crash_at)
    connections = settings.threads + _MORE_CONNECTIONS
    database = (open_database or _open_database)(settings.database_url, connections)
    clock = clock or database.clock()
    lock = lock or open_lock(settings.lock_url)
    stocks = StockCache(cache or open_cache(_cache_url(settings)), settings.database_url.database_name)
    broker = broker or open_broker(settings.broker_url, topic_prefix=settings.topic_prefix, clock=clock)
    writer = StockWriter(
        database,
        lock,
        clock,
        queue=settings.queue,
        batch=settings.batch,
        lock_outage=settings.lock_outage,
        cache=stocks,
        crash_hook=crash_hook,
    )
    broker.subscribe(TOPIC, GROUP, OrderRebackConsumer(writer, crash_hook=crash_hook).handle)
    return InventoryService(
        server=_server(settings, InventoryServicer(writer, Queries(database, stocks), Audit(database)), broker),
        database=database,
        lock=lock,
        cache=stocks,
        broker=broker,
        discovery=discovery or open_discovery(settings.discovery_url),
        advertise=settings.advertise,
        writer=writer,
    )


def _server(settings: InventorySettings, servicer: InventoryServicer, broker: Broker) -> Server:
    server = Server(DOMAIN, settings.listen, threads=settings.threads, reflection=settings.reflection)
    server.add(_FULL_NAME, inventory_pb2_grpc.add_InventoryServiceServicer_to_server, servicer)
    server.tell_health(BROKER, serving=True)
    broker.on_reachable(lambda reachable: server.tell_health(BROKER, serving=reachable))
    return server


def _cache_url(settings: InventorySettings) -> DriverUrl:
    """Where stock is cached when no setting says: never where one replica would not see what another one changed."""
    if settings.cache_url is not None:
        return settings.cache_url
    if settings.lock_url.scheme in CACHES.table and settings.lock_url.scheme != "local":
        return CACHES.read(settings.lock_url.reveal(without=["expiry"]))  # that is the life of a lock, not of an entry
    return CACHES.read("local://" if settings.database_url.scheme == "sqlite" else "none://")


def _open_database(url: DatabaseUrl, connections: int) -> Database:
    return Database(url, connections=connections)
