"""MariaDB is killed under both services: they say so, and go on soon after its return. Replicas start at once on it."""

import itertools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from threading import Event
from typing import Any, Final, Self
from uuid import uuid4

import grpc
import pytest

from reback.inventory.v1 import inventory_pb2 as stock_pb
from reback.order.v1 import order_pb2 as pb
from tests.support.databases import ask, connect
from tests.support.mariadb_server import MariadbServer, mariadb_server
from tests.support.ports import free_port
from tests.support.repeated_calls import until_done
from tests.support.rpc_errors import RpcFailure, rpc_error
from tests.support.service_process import Process, process
from tests.support.services import Services, create_request, inventory_settings, order_settings
from tests.support.tables import rows
from tests.support.waiting import TIMEOUT_S, wait_until

SOON: Final = 5.0
"""Seconds after its return within which every call succeeds."""

KILLS: Final = 3
CALLERS: Final = 8
ALL: Final = 100_000

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def server() -> Iterator[MariadbServer]:
    with mariadb_server() as started:
        yield started


def database_on(server: MariadbServer, name: str) -> str:
    """The URL of a new database there."""
    name = f"{name}_{uuid4().hex[:8]}"
    ask(server.url, f"CREATE DATABASE {name}")
    return f"{server.url}/{name}"


class Shop(Services):
    """Both services as processes."""

    def __init__(self, folder: Path, inventory: Process, order: Process) -> None:
        super().__init__(folder, inventory, order)  # type: ignore[arg-type]  # they have addresses
        self.orders_url = ""
        self.pids = [inventory.pid, order.pid]


@pytest.fixture
def shop(tmp_path: Path, server: MariadbServer) -> Iterator[Shop]:
    with ExitStack() as stack:
        stock = inventory_settings(tmp_path, database_url=database_on(server, "inventory"))
        inventory = stack.enter_context(process(tmp_path, stock))
        orders_url = database_on(server, "orders")
        settings = order_settings(tmp_path, inventory.address, database_url=orders_url)
        order = stack.enter_context(process(tmp_path, settings))
        opened = Shop(tmp_path, inventory, order)
        opened.orders_url = orders_url
        stack.callback(opened.close)
        yield opened
        assert [inventory.pid, order.pid] == opened.pids, "nobody was started again"
        order.stop()
        inventory.stop()


@contextmanager
def killed(server: MariadbServer) -> Iterator[None]:
    server.kill()
    try:
        yield
    finally:
        server.start()


def calls(shop: Shop, user: int, sku: str, order: pb.Order) -> list[Callable[[], Any]]:
    """One call of each kind: reads, and changes with keys that are new each time."""
    return [
        lambda: shop.stock(sku),
        lambda: shop.inventory.ListStocks(stock_pb.ListStocksRequest()),
        lambda: shop.inventory.AuditStock(stock_pb.AuditStockRequest()),
        lambda: shop.inventory.SetStock(stock_pb.SetStockRequest(sku=f"{sku}-more", quantity=5)),
        lambda: shop.inventory.Sell(sell_request(uuid4().hex, sku)),
        lambda: shop.inventory.Reback(stock_pb.RebackRequest(order_sn=uuid4().hex, reason="never sold")),
        lambda: shop.get(order),
        lambda: shop.orders_of(user),
        lambda: shop.put_goods(sku),
        lambda: shop.create(user, {sku: 1}),
        lambda: shop.pay(order),
    ]


def sell_request(order_sn: str, sku: str) -> stock_pb.SellRequest:
    return stock_pb.SellRequest(order_sn=order_sn, lines=[stock_pb.SaleLine(sku=sku, quantity=1)])


def test_while_it_is_gone_every_call_says_so_and_soon_after_its_return_every_call_succeeds(
    shop: Shop, server: MariadbServer
) -> None:
    user, sku = shop.new_user(), shop.new_sku(ALL)
    order = shop.create(user, {sku: 1})
    with killed(server):
        for call in calls(shop, user, sku, order):
            began = time.monotonic()
            refused: RpcFailure = rpc_error(call)
            assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "DATABASE_UNAVAILABLE")
            assert time.monotonic() - began < SOON

    back = time.monotonic()
    for call in calls(shop, user, sku, order):
        until_done(call)
    assert time.monotonic() - back < SOON
    assert not shop.inventory.AuditStock(stock_pb.AuditStockRequest(page_size=1000)).differences


def test_an_order_whose_row_is_locked_holds_up_no_other_cancel(shop: Shop, server: MariadbServer) -> None:
    user, sku = shop.new_user(), shop.new_sku(ALL)
    locked, other = (shop.create(user, {sku: 1}) for _ in range(2))

    def cancel(order: pb.Order) -> pb.Order:
        return shop.order.CancelOrder(pb.CancelOrderRequest(user_id=user, order_sn=order.order_sn))

    waits = "SHOW GLOBAL STATUS LIKE 'Innodb_row_lock_current_waits'"
    with ThreadPoolExecutor(1) as pool, closing(connect(shop.orders_url)) as elsewhere, elsewhere.cursor() as cursor:
        cursor.execute("BEGIN")
        cursor.execute("SELECT state FROM orders WHERE order_sn = %s FOR UPDATE", (locked.order_sn,))
        hanging = pool.submit(cancel, locked)
        wait_until(lambda: ask(server.url, waits)[0][1] != "0", "its cancel waits for the row")
        assert cancel(other).state == pb.ORDER_STATE_CLOSED
        assert not hanging.done()
        cursor.execute("ROLLBACK")
        assert hanging.result(TIMEOUT_S).state == pb.ORDER_STATE_CLOSED


class Buyers:
    """Callers who each buy one unit after the other, and repeat a call until its outcome is known."""

    def __init__(self, shop: Shop, sku: str, pool: ThreadPoolExecutor) -> None:
        self.bought: list[str] = []
        self._shop = shop
        self._ended = Event()
        self._working = [pool.submit(self._buy, user, sku) for user in [shop.new_user() for _ in range(CALLERS)]]

    def _buy(self, user: int, sku: str) -> None:
        while not self._ended.is_set():
            self._buy_one(user, sku)

    def _buy_one(self, user: int, sku: str) -> None:
        request = create_request(user, {sku: 1})
        self.bought.append(until_done(lambda: self._shop.order.CreateOrder(request)).order_sn)

    def wait_for_more(self, orders: int = 30) -> None:
        goal = len(self.bought) + orders
        wait_until(lambda: len(self.bought) >= goal or any(each.done() for each in self._working), "orders go on")

    def one_more(self, sku: str) -> None:
        """Somebody new buys. Orders of one moment are written together, so the others' may all have died half-way: then
        their requests are answered when the creating grace is over."""
        self._buy_one(self._shop.new_user(), sku)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self._ended.set()
        for each in self._working:
            each.result(TIMEOUT_S)


def test_killed_at_any_moment_under_load_it_costs_no_order_and_makes_none_twice(
    shop: Shop, server: MariadbServer
) -> None:
    """Transactions of both services are everywhere between BEGIN and the answer to COMMIT when it dies."""
    sku = shop.new_sku(ALL)
    with ThreadPoolExecutor(CALLERS) as pool, Buyers(shop, sku, pool) as buyers:
        for _ in range(KILLS):
            buyers.wait_for_more()
            with killed(server):
                pass
            back = time.monotonic()
            buyers.one_more(sku)
            assert time.monotonic() - back < SOON

    unpaid = shop.assert_books_balance().in_state(pb.ORDER_STATE_UNPAID)
    assert sorted(order.order_sn for order in unpaid) == sorted(buyers.bought)
    stock = shop.stock(sku)
    assert (stock.available, stock.sold) == (ALL - len(buyers.bought), len(buyers.bought))


def process_in(folder: Path, settings: Any) -> Process:
    folder.mkdir()
    return Process(folder, settings)


@pytest.mark.usefixtures("engine")
def test_replicas_of_both_services_start_on_empty_databases_at_once(tmp_path: Path) -> None:
    port = free_port()
    stock = [inventory_settings(tmp_path, listen=f"127.0.0.1:{each}", cache_url="none://") for each in (port, 0)]
    orders = [order_settings(tmp_path, f"127.0.0.1:{port}") for _ in range(2)]
    processes = [process_in(tmp_path / str(number), settings) for number, settings in enumerate([*stock, *orders])]
    with ExitStack() as closing, ThreadPoolExecutor(4) as pool:
        for one in processes:
            closing.callback(one.kill)
        list(pool.map(Process.start, processes))
        for inventory, order in itertools.product(processes[:2], processes[2:]):
            shop = Services(tmp_path, inventory, order)  # type: ignore[arg-type]  # they have addresses
            closing.callback(shop.close)
            user, sku = shop.new_user(), shop.new_sku(5)
            assert shop.create(user, {sku: 2}).state == pb.ORDER_STATE_UNPAID
            assert shop.available(sku) == 3
        for one in reversed(processes):
            one.stop()
    for database in ("inventory", "order"):
        names = [name for (name,) in rows(tmp_path, database, "SELECT name FROM schema_migration")]
        assert len(names) == len(set(names)) > 0
