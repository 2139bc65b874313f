"""Calls through Consul to several inventories: they die, hang, leave and join, and Consul goes away and comes back."""

import itertools
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Any, Final
from uuid import uuid4

import grpc
import pytest

from common.discovery.drivers import open_discovery
from common.rpc.channel import open_channel
from order_srv.adapters.stock_client import SELLS
from reback.inventory.v1 import inventory_pb2 as pb
from reback.inventory.v1.inventory_pb2_grpc import InventoryServiceStub
from reback.order.v1 import order_pb2 as order_pb
from reback.order.v1.order_pb2_grpc import OrderServiceStub
from tests.support.consul_server import ConsulServer, consul_server
from tests.support.repeated_calls import REPEATABLE
from tests.support.service_process import Process
from tests.support.services import create_request, inventory_settings, running_order
from tests.support.tables import rows
from tests.support.waiting import TIMEOUT_S, wait_until

CALLERS: Final = 8
WARM: Final = 100  # answers
STOCK: Final = 1_000_000

CHECKED_WITHIN: Final = 2.0 + 1.0  # seconds: the check's interval, and what an answer to it may take
A_MOMENT: Final = 1.5  # seconds: for the answer to travel, on a busy machine
BACK_WITHIN: Final = 5.0  # seconds

# Consul and several processes are started, on a machine that may be busy.
pytestmark = [pytest.mark.alone, pytest.mark.timeout(300)]


@dataclass(frozen=True)
class Call:
    """One call that has ended; `code` is None when it was answered."""

    key: str
    begun: float
    ended: float
    code: grpc.StatusCode | None


class Load:
    """Callers that sell one unit after another, and look at the stock in between, over one channel; or only look.

    Attributes:
        sells, looks: Every call that ended, of the kind that is never repeated and of the kind that is.
    """

    def __init__(self, channel: grpc.Channel, sku: str, *, selling: bool) -> None:
        self.sells: list[Call] = []
        self.looks: list[Call] = []
        self._selling = selling
        self._stub = InventoryServiceStub(channel)
        self._sku = sku
        self._ended = Event()

    def sold(self) -> set[str]:
        """The orders that were answered."""
        return {call.key for call in self.sells if call.code is None}

    def failed(self, calls: list[Call]) -> list[Call]:
        return [call for call in calls if call.code is not None]

    def answered(self, count: int) -> None:
        """Wait until so many more looks have ended; who sells has then ended as many sells."""
        wanted = len(self.looks) + count
        wait_until(lambda: len(self.looks) >= wanted, f"{wanted} answers")

    def end(self) -> None:
        self._ended.set()

    def keep_calling(self) -> None:
        while not self._ended.is_set():
            if self._selling:
                self.sells.append(_called(self._sell))
            self.looks.append(_called(self._look))

    def _sell(self, key: str) -> object:
        lines = [pb.SaleLine(sku=self._sku, quantity=1)]
        return self._stub.Sell(pb.SellRequest(order_sn=key, lines=lines), timeout=TIMEOUT_S)

    def _look(self, _: str) -> object:
        return self._stub.GetStock(pb.GetStockRequest(sku=self._sku), timeout=TIMEOUT_S)


def _called(call: Callable[[str], object]) -> Call:
    key, begun, code = uuid4().hex, time.monotonic(), None
    try:
        call(key)
    except grpc.RpcError as error:
        code = error.code()
    return Call(key, begun, time.monotonic(), code)


class Site:
    """Inventories that register with a Consul of their own, and a client that finds them there.

    Attributes:
        consul: The agent.
        sku: Of which there is plenty.
        channel: The client's, as the order service has one.
    """

    def __init__(self, folder: Path, closing: ExitStack) -> None:
        self.folder = folder
        self.consul: ConsulServer = closing.enter_context(consul_server(folder))
        self.sku = f"sku-{uuid4().hex[:8]}"
        self._closing = closing
        self._numbers = itertools.count(1)
        discovery = open_discovery(self.consul.url)
        closing.callback(discovery.close)
        self.channel = closing.enter_context(open_channel(discovery, "inventory-srv", never_repeated=SELLS))

    def start(self, **settings: Any) -> Process:
        """Another inventory, on the same database."""
        folder = self.folder / f"inventory-{next(self._numbers)}"
        folder.mkdir()
        process = Process(folder, inventory_settings(self.folder, discovery_url=self.consul.url, **settings))
        self._closing.callback(process.kill)
        process.start()
        return process

    def passing(self) -> set[str]:
        """The addresses that Consul would tell."""
        return self.consul.passing("inventory-srv")

    def until_passing(self, *processes: Process, timeout_s: float = TIMEOUT_S) -> None:
        wanted = {process.address for process in processes}
        wait_until(lambda: self.passing() == wanted, f"Consul tells {wanted}", timeout_s)

    def put_stock(self) -> None:
        request = pb.SetStockRequest(sku=self.sku, quantity=STOCK)
        InventoryServiceStub(self.channel).SetStock(request, timeout=TIMEOUT_S)

    @contextmanager
    def loading(self, *, selling: bool = True) -> Iterator[Load]:
        """Load that is well under way."""
        load = Load(self.channel, self.sku, selling=selling)
        with ThreadPoolExecutor(CALLERS) as callers:
            working = [callers.submit(load.keep_calling) for _ in range(CALLERS)]
            try:
                load.answered(WARM)
                yield load
            finally:
                load.end()
        for caller in working:
            caller.result()

    def in_books(self) -> set[str]:
        """The orders that were sold, whatever was answered."""
        return {order_sn for (order_sn,) in rows(self.folder, "inventory", "SELECT order_sn FROM sale")}

    def assert_books_balance(self) -> None:
        stub = InventoryServiceStub(self.channel)
        stock = stub.GetStock(pb.GetStockRequest(sku=self.sku), timeout=TIMEOUT_S)
        assert (stock.available, stock.sold) == (STOCK - len(self.in_books()), len(self.in_books()))
        assert not stub.AuditStock(pb.AuditStockRequest(), timeout=TIMEOUT_S).differences


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as closing:
        yield Site(tmp_path, closing)


@pytest.fixture
def pair(site: Site) -> tuple[Process, Process]:
    """Two inventories that have passed their checks, and stock in them."""
    first, second = site.start(), site.start()
    site.until_passing(first, second)
    wait_until(lambda: _stocked(site), "the client knows them")
    return first, second


def _stocked(site: Site) -> bool:
    try:
        site.put_stock()
    except grpc.RpcError:
        return False
    return True


def test_traffic_leaves_a_killed_inventory_at_once(site: Site, pair: tuple[Process, Process]) -> None:
    killed, other = pair
    with site.loading() as load:
        killed.kill()
        crash_at = time.monotonic()
        site.until_passing(other, timeout_s=CHECKED_WITHIN + A_MOMENT)
        load.answered(WARM)
    assert load.failed(load.looks) == []  # repeated at the other one
    failed = load.failed(load.sells)
    assert {call.code for call in failed} <= {grpc.StatusCode.UNAVAILABLE}
    assert all(call.begun < crash_at + A_MOMENT for call in failed)
    assert load.sold() <= site.in_books() <= load.sold() | {call.key for call in failed}
    site.assert_books_balance()


def test_traffic_leaves_an_inventory_that_hangs_when_its_check_fails(site: Site, pair: tuple[Process, Process]) -> None:
    hanging, other = pair
    with site.loading(selling=False) as load:  # who is stopped while it sells keeps SQLite's one lock
        hanging.send(signal.SIGSTOP)
        stopped_at = time.monotonic()
        try:
            site.until_passing(other, timeout_s=CHECKED_WITHIN + A_MOMENT)
            left_at = time.monotonic() + A_MOMENT
            wait_until(lambda: bool(_slow(load.looks)), "a call that it had is given up, and repeated")
            load.answered(WARM)
        finally:
            hanging.send(signal.SIGCONT)
        site.until_passing(*pair)
        load.answered(WARM)
    assert load.failed(load.looks) == []
    assert all(stopped_at - A_MOMENT < call.begun < left_at for call in _slow(load.looks))


def _slow(calls: list[Call]) -> list[Call]:
    """Those that no working inventory would have taken so long for."""
    return [call for call in calls if call.ended - call.begun > 2 * CHECKED_WITHIN]


def test_pitfall_17_an_inventory_that_is_told_to_stop_loses_no_call(site: Site, pair: tuple[Process, Process]) -> None:
    leaving, other = pair
    with site.loading() as load:
        leaving.stop()  # and its exit code is 0
        assert site.passing() == {other.address}
        load.answered(WARM)
    assert load.failed(load.looks) == []
    assert {call.code for call in load.failed(load.sells)} <= {grpc.StatusCode.UNAVAILABLE}
    assert load.sold() == site.in_books()
    site.assert_books_balance()


def test_a_newcomer_is_found_and_can_take_over(site: Site, pair: tuple[Process, Process]) -> None:
    with site.loading() as load:
        newcomer = site.start()
        site.until_passing(*pair, newcomer, timeout_s=BACK_WITHIN)
        for leaving in pair:
            leaving.stop()
        load.answered(WARM)
    assert {call.code for call in load.failed(load.sells)} <= {grpc.StatusCode.UNAVAILABLE}
    assert load.failed(load.looks) == []
    assert load.sold() == site.in_books()


@pytest.mark.parametrize("forget", [False, True], ids=["with-its-data", "without-its-data"])
def test_calls_go_on_without_consul_and_all_is_well_when_it_is_back(
    site: Site, pair: tuple[Process, Process], forget: bool
) -> None:
    with site.loading() as load:
        site.consul.kill()
        load.answered(WARM)
        site.consul.start(forget=forget)
        site.until_passing(*pair, timeout_s=BACK_WITHIN)
        newcomer = site.start()
        site.until_passing(*pair, newcomer, timeout_s=BACK_WITHIN)
        for leaving in pair:
            leaving.stop()
        load.answered(WARM)
    assert load.failed(load.looks) == []
    assert {call.code for call in load.failed(load.sells)} <= {grpc.StatusCode.UNAVAILABLE}
    assert load.sold() == site.in_books()


def test_an_inventory_that_starts_or_stops_without_consul_does_so_in_order(site: Site) -> None:
    site.consul.kill()
    first = site.start()
    first.stop()  # and its exit code is 0
    again = site.start(listen=first.address, advertise="localhost")  # called by a name
    site.consul.start()
    wait_until(lambda: site.passing() == {again.address.replace("127.0.0.1", "localhost")}, "found", BACK_WITHIN)
    wait_until(lambda: _stocked(site), "the client knows it")


def test_orders_fail_clearly_until_there_is_an_inventory_and_are_created_soon_after(site: Site, tmp_path: Path) -> None:
    with (
        running_order(tmp_path, "", {"discovery_url": site.consul.url, "sweep_every": 60}) as order,
        grpc.insecure_channel(order.address) as channel,
    ):
        stub = OrderServiceStub(channel)
        goods = order_pb.Goods(sku=site.sku, name="tea", price_cents=250, currency="EUR", on_sale=True)
        stub.PutGoods(order_pb.PutGoodsRequest(goods=goods), timeout=TIMEOUT_S)
        codes: list[grpc.StatusCode | None] = []

        def created() -> bool:
            call = _called(lambda _: stub.CreateOrder(create_request(1, {site.sku: 1}), timeout=TIMEOUT_S))
            codes.append(call.code)
            return call.code is None

        assert not created()
        site.start()
        wait_until(lambda: _stocked(site), "the client knows it", BACK_WITHIN)
        wait_until(created, "an order", BACK_WITHIN)
        assert set(codes[:-1]) <= REPEATABLE
