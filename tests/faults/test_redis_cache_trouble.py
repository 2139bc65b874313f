"""Two inventory processes that read stock from one cache: a process, or the cache's Redis, is killed."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event
from typing import Any, Final

import grpc
import pytest

from inventory_srv.crash_points import CrashPoint
from reback.inventory.v1 import inventory_pb2 as pb
from reback.inventory.v1.inventory_pb2_grpc import InventoryServiceStub
from tests.support.databases import url_of
from tests.support.redis_server import RedisServer, redis_server
from tests.support.repeated_calls import until_done
from tests.support.service_process import process
from tests.support.services import inventory_settings
from tests.support.waiting import TIMEOUT_S, wait_until

LONG: Final = "expiry=1000"
SHORT: Final = "expiry=2"
READERS: Final = 4

pytestmark = pytest.mark.timeout(300)  # Redis and two processes are started, on a machine that may be busy


@pytest.fixture
def server(engine: str, tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as started:
        yield started


@contextmanager
def replicas(folder: Path, cache_url: str, *settings: dict[str, Any]) -> Iterator[list[InventoryServiceStub]]:
    """Processes on the folder's database, one for each of these settings."""
    with ExitStack() as opened:
        stubs = []
        for number, more in enumerate(settings):
            own = folder / f"replica-{number}"
            own.mkdir()
            made = inventory_settings(own, database_url=url_of(folder, "inventory"), cache_url=cache_url, **more)
            service = opened.enter_context(process(own, made))
            stubs.append(InventoryServiceStub(opened.enter_context(grpc.insecure_channel(service.address))))
        yield stubs


def set_stock(stub: InventoryServiceStub, units: int) -> None:
    stub.SetStock(pb.SetStockRequest(sku="tea", quantity=units), timeout=TIMEOUT_S)


def sell_request(order_sn: str) -> pb.SellRequest:
    return pb.SellRequest(order_sn=order_sn, lines=[pb.SaleLine(sku="tea", quantity=1)])


def sell(stub: InventoryServiceStub, order_sn: str) -> pb.Sale:
    return until_done(lambda: stub.Sell(sell_request(order_sn), timeout=TIMEOUT_S))


def stock(stub: InventoryServiceStub) -> pb.Stock:
    return stub.GetStock(pb.GetStockRequest(sku="tea"), timeout=TIMEOUT_S)


def test_what_a_replica_committed_and_was_killed_before_it_told_is_seen_within_the_expiry(
    tmp_path: Path, server: RedisServer
) -> None:
    dies = {"crash_at": CrashPoint.BATCH_COMMITTED}
    with replicas(tmp_path, f"{server.url}?{SHORT}", {}, dies) as (other, killed):
        set_stock(other, 5)
        with pytest.raises(grpc.RpcError):
            killed.Sell(sell_request("o1"), timeout=TIMEOUT_S)
        wait_until(lambda: stock(other).available == 4, "the other replica looks again")


def test_a_repeat_of_what_a_killed_replica_did_not_tell_makes_it_seen_at_once(
    tmp_path: Path, server: RedisServer
) -> None:
    dies = {"crash_at": CrashPoint.BATCH_COMMITTED}
    with replicas(tmp_path, f"{server.url}?{LONG}", {}, dies) as (other, killed):
        set_stock(other, 5)
        with pytest.raises(grpc.RpcError):
            killed.Sell(sell_request("o1"), timeout=TIMEOUT_S)
        assert sell(other, "o1").state == pb.SALE_STATE_SOLD
        assert (stock(other).available, stock(other).sold) == (4, 1)


def test_redis_killed_and_back_under_reads_costs_none_and_nobody_sees_less_than_he_was_answered(
    tmp_path: Path, server: RedisServer
) -> None:
    """Each asks the replica that answered him: it knows of itself that it could not tell."""
    over = Event()

    def read(stub: InventoryServiceStub) -> int:
        reads = 0
        while not over.is_set():
            stock(stub)
            reads += 1
        return reads

    def sell_some(stub: InventoryServiceStub, name: str, sales: int = 20) -> None:
        for number in range(sales):
            sell(stub, f"{name}-{number}")
            assert stock(stub).sold > number

    with (
        replicas(tmp_path, f"{server.url}?{SHORT}", {}, {}) as both,
        ThreadPoolExecutor(READERS) as pool,
    ):
        set_stock(both[0], 1000)
        readers = [pool.submit(read, both[number % 2]) for number in range(READERS)]
        try:
            for turn in range(2):
                sell_some(both[0], f"there-{turn}")
                server.kill()
                sell_some(both[1], f"away-{turn}")
                server.start()
                sell_some(both[0], f"back-{turn}")
        finally:
            over.set()
        assert all(reader.result(TIMEOUT_S) > 0 for reader in readers)
        wait_until(lambda: stock(both[0]) == stock(both[1]), "both show the same again")
        assert (stock(both[0]).available, stock(both[0]).sold) == (880, 120)
        audit = pb.AuditStockRequest(page_size=10)
        assert not both[0].AuditStock(audit, timeout=TIMEOUT_S).differences
