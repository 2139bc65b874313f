"""Two inventory replicas on one database whose lock expires, is forgotten, or goes away: the rows guard the stock."""

import itertools
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, Final, Self
from uuid import uuid4

import grpc
import psutil
import pytest
import redis

from common.deadline import Deadline
from common.lock.drivers import open_lock
from inventory_srv.crash_points import CrashPoint
from reback.inventory.v1 import inventory_pb2 as pb
from reback.inventory.v1.inventory_pb2_grpc import InventoryServiceStub
from tests.support.databases import ENGINES, own_database
from tests.support.engines import REDIS_URL
from tests.support.redis_server import RedisServer, redis_server
from tests.support.repeated_calls import until_done
from tests.support.rpc_errors import rpc_error
from tests.support.service_process import Process, process
from tests.support.services import inventory_settings
from tests.support.waiting import TIMEOUT_S, wait_until

EXPIRY: Final = 1.0
DOWN: Final = "Redis is down: its locks can't be acquired"
BACK: Final = "Redis is there again"
LOST: Final = "the stock lock was lost before its batch was done"
CALLERS: Final = 8

pytestmark = pytest.mark.timeout(300)  # Redis and two processes are started, on a machine that may be busy


@dataclass
class Replica:
    """One of the processes, and a stub of it."""

    service: Process
    stub: InventoryServiceStub

    def sell(self, order_sn: str, quantity: int = 1) -> pb.Sale:
        return self.stub.Sell(sell_request(order_sn, quantity), timeout=TIMEOUT_S)

    def units(self) -> tuple[int, int]:
        stock = self.stub.GetStock(pb.GetStockRequest(sku="tea"), timeout=TIMEOUT_S)
        return stock.available, stock.sold

    def set_stock(self, quantity: int) -> None:
        self.stub.SetStock(pb.SetStockRequest(sku="tea", quantity=quantity), timeout=TIMEOUT_S)

    def assert_books_balance(self) -> None:
        assert not self.stub.AuditStock(pb.AuditStockRequest(page_size=1000), timeout=TIMEOUT_S).differences

    def has_logged(self, words: str, times: int = 1) -> bool:
        return self.service.log.read_text().count(words) >= times


class Shop:
    """Starts replicas on one database, each with a folder and a log of its own."""

    def __init__(self, folder: Path, database_url: str, closing: ExitStack) -> None:
        self._folder = folder
        self._database_url = database_url
        self._closing = closing
        self._numbers = itertools.count(1)

    def replica(self, lock_url: str, **settings: Any) -> Replica:
        folder = self._folder / f"replica-{next(self._numbers)}"
        folder.mkdir()
        made = inventory_settings(
            folder, database_url=self._database_url, lock_url=lock_url, cache_url="none://", **settings
        )
        service = self._closing.enter_context(process(folder, made))
        channel = self._closing.enter_context(grpc.insecure_channel(service.address))
        return Replica(service, InventoryServiceStub(channel))


@pytest.fixture(params=ENGINES)
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    with ExitStack() as closing:
        url = f"sqlite:///{tmp_path}/inventory.db"
        if request.param == "mysql":
            url = closing.enter_context(own_database())
        yield Shop(tmp_path, url, closing)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as started:
        yield started


def sell_request(order_sn: str, quantity: int = 1) -> pb.SellRequest:
    return pb.SellRequest(order_sn=order_sn, lines=[pb.SaleLine(sku="tea", quantity=quantity)])


def is_stopped(replica: Replica) -> bool:
    return psutil.Process(replica.service.pid).status() == psutil.STATUS_STOPPED


@pytest.mark.parametrize("point", [CrashPoint.LOCK_HELD, CrashPoint.BATCH_COMMITTED])
def test_a_holder_stopped_past_its_expiry_and_continued_oversells_nothing_and_leaves_the_new_owner_alone(
    shop: Shop, point: CrashPoint
) -> None:
    """The last unit, and the replica that holds its lock stops: before its transaction, or after its commit."""
    prefix = f"{uuid4().hex}:"
    lock_url = f"{REDIS_URL}?prefix={prefix}&expiry={EXPIRY}"
    other = shop.replica(lock_url)
    other.set_stock(1)
    stopping = shop.replica(lock_url, crash_at=f"stop:{point}")

    first = stopping.stub.Sell.future(sell_request("of the stopped one"), timeout=TIMEOUT_S)
    wait_until(lambda: is_stopped(stopping), "it stops while it holds the lock")
    if point is CrashPoint.LOCK_HELD:
        assert other.sell("of the other one").state == pb.SALE_STATE_SOLD
    else:
        assert rpc_error(lambda: other.sell("of the other one")).reason == "NO_STOCK"

    lock, key = open_lock(f"{REDIS_URL}?prefix={prefix}"), f"{prefix}lock:stock:tea"
    with redis.Redis.from_url(REDIS_URL) as eyes, lock.holding(["lock:stock:tea"], Deadline.after(TIMEOUT_S)) as held:
        token = eyes.get(key)
        stopping.service.send(signal.SIGCONT)
        if point is CrashPoint.LOCK_HELD:
            assert rpc_error(lambda: first.result(TIMEOUT_S)).reason == "NO_STOCK"
        else:
            assert first.result(TIMEOUT_S).state == pb.SALE_STATE_SOLD
        wait_until(lambda: stopping.has_logged(LOST), "LockLost is told in its log")
        assert eyes.get(key) == token is not None
        assert not held.lost
    lock.close()

    assert stopping.units() == other.units() == (0, 1)
    stopping.set_stock(5)
    assert stopping.sell("later").state == pb.SALE_STATE_SOLD
    assert other.units() == (4, 2)
    other.assert_books_balance()


def test_a_holder_stopped_inside_its_transaction_finishes_it_and_the_books_are_right(shop: Shop) -> None:
    lock_url = f"{REDIS_URL}?prefix={uuid4().hex}:&expiry={EXPIRY}"
    other = shop.replica(lock_url)
    other.set_stock(1)
    stopping = shop.replica(lock_url, crash_at=f"stop:{CrashPoint.ROWS_HELD}")

    with ThreadPoolExecutor(1) as pool:
        first = stopping.stub.Sell.future(sell_request("of the stopped one"), timeout=TIMEOUT_S)
        wait_until(lambda: is_stopped(stopping), "it stops while it holds the rows")
        second = pool.submit(lambda: told_or_sold(other, "of the other one"))
        resumes_at = time.monotonic() + 2 * EXPIRY
        wait_until(lambda: time.monotonic() > resumes_at, "the lock expires")
        stopping.service.send(signal.SIGCONT)
        assert first.result(TIMEOUT_S).state == pb.SALE_STATE_SOLD
        assert second.result(TIMEOUT_S) == "NO_STOCK"

    wait_until(lambda: stopping.has_logged(LOST), "LockLost is told in its log")
    assert other.units() == (0, 1)
    other.assert_books_balance()


def told_or_sold(replica: Replica, order_sn: str) -> str:
    """Sell as a good caller does; "SOLD", or why not."""
    try:
        return pb.SaleState.Name(until_done(lambda: replica.sell(order_sn)).state)
    except grpc.RpcError as error:

        def fail(raised: grpc.RpcError = error) -> None:
            raise raised

        return rpc_error(fail).reason


def have_logged(replicas: list[Replica], words: str, times: int) -> Callable[[], bool]:
    return lambda: all(each.has_logged(words, times) for each in replicas)


class Callers:
    """Callers who each sell one unit after the other through a replica, until told to end."""

    def __init__(self, replicas: list[Replica], pool: ThreadPoolExecutor) -> None:
        self.sold: list[str] = []
        self.longest = 0.0
        self._ended = Event()
        self._working = [pool.submit(self._sell, replicas[n % len(replicas)]) for n in range(CALLERS)]

    def _sell(self, replica: Replica) -> None:
        while not self._ended.is_set():
            began = time.monotonic()
            self.sold.append(replica.sell(uuid4().hex).order_sn)
            self.longest = max(self.longest, time.monotonic() - began)

    def wait_for_more(self, sales: int = 40) -> None:
        goal = len(self.sold) + sales
        wait_until(lambda: len(self.sold) >= goal or any(each.done() for each in self._working), "sales go on")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        """Stop them; none was refused anything."""
        self._ended.set()
        for each in self._working:
            each.result(TIMEOUT_S)


def test_redis_flushed_killed_and_back_under_load_costs_no_sale(shop: Shop, server: RedisServer) -> None:
    # debug: an outage that follows another within seconds is no warning any more
    replicas = [shop.replica(server.url, log_level="debug") for _ in range(2)]
    replicas[0].set_stock(100_000)
    with ThreadPoolExecutor(CALLERS) as pool, Callers(replicas, pool) as callers:
        callers.wait_for_more()
        for _ in range(5):
            server.client.flushall()
            callers.wait_for_more()
        for times in (1, 2):
            server.kill()
            callers.wait_for_more()
            # Sales go on so quickly that Redis could be back before a replica has missed it.
            wait_until(have_logged(replicas, DOWN, times), "both replicas tell of the outage")
            server.start()
            wait_until(have_logged(replicas, BACK, times), "both replicas have found Redis back", timeout_s=5)
            wait_until(lambda: server.client.dbsize() > 0, "the lock is kept in Redis again", timeout_s=5)
            callers.wait_for_more()
    assert replicas[0].units() == (100_000 - len(callers.sold), len(callers.sold))
    replicas[1].assert_books_balance()


def test_replicas_that_are_told_to_refuse_say_so_and_sell_again_when_redis_is_back(
    shop: Shop, server: RedisServer
) -> None:
    replica = shop.replica(server.url, lock_outage="refuse")
    replica.set_stock(5)
    server.kill()
    wait_until(have_logged([replica], DOWN, 1), "it has noticed")  # it had the lock till then
    refused = rpc_error(lambda: replica.sell("o1"))
    assert (refused.code, refused.reason) == (grpc.StatusCode.UNAVAILABLE, "LOCK_UNAVAILABLE")
    server.start()
    back = time.monotonic()
    assert until_done(lambda: replica.sell("o1")).state == pb.SALE_STATE_SOLD
    assert time.monotonic() - back < 5
    assert replica.units() == (4, 1)
    replica.assert_books_balance()
