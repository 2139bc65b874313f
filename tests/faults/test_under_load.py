"""Services stopped and killed while many callers are at work: no accepted call is lost, the books balance."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any, Final
from uuid import uuid4

import grpc
import pytest

from reback.inventory.v1 import inventory_pb2 as stock_pb
from reback.inventory.v1.inventory_pb2_grpc import InventoryServiceStub
from reback.order.v1 import order_pb2 as pb
from reback.order.v1.order_pb2_grpc import OrderServiceStub
from tests.support.books import Books, assert_books_balance
from tests.support.repeated_calls import until_done
from tests.support.service_process import process
from tests.support.services import (
    Services,
    create_request,
    inventory_settings,
    order_settings,
    running_inventory,
    running_order,
)
from tests.support.tables import sale_states, unsettled
from tests.support.waiting import TIMEOUT_S, wait_until
from tests.support.worlds import World

CALLERS: Final = 16
WARM: Final = 100  # answers before anything happens
USER: Final = 1
STOCK: Final = 1_000_000


class Load:
    """Callers that make one call after another, each on a connection of its own, until one of theirs is UNAVAILABLE.

    Attributes:
        answers: The answer to each request that got one, by its key.
        errors: The codes that the others ended with.
    """

    def __init__(self, address: str, call: Callable[[grpc.Channel, str], Any], callers: ThreadPoolExecutor) -> None:
        self.answers: dict[str, Any] = {}
        self.errors: dict[str, grpc.StatusCode] = {}
        self._address = address
        self._call = call
        self._ended = Event()
        self._working = [callers.submit(self._keep_calling) for _ in range(CALLERS)]

    def answered(self, count: int) -> None:
        """Wait for so many more answers."""
        wanted = len(self.answers) + count
        wait_until(lambda: len(self.answers) >= wanted, f"{wanted} answers")

    def end(self) -> None:
        """Return when every caller has its last answer."""
        self._ended.set()
        for worker in self._working:
            worker.result(TIMEOUT_S)

    def _keep_calling(self) -> None:
        with grpc.insecure_channel(self._address, [("grpc.use_local_subchannel_pool", 1)]) as channel:
            while not self._ended.is_set():
                key = uuid4().hex
                try:
                    self.answers[key] = self._call(channel, key)
                except grpc.RpcError as error:
                    self.errors[key] = error.code()
                    if error.code() is grpc.StatusCode.UNAVAILABLE:
                        return


@contextmanager
def loading(address: str, call: Callable[[grpc.Channel, str], Any]) -> Iterator[Load]:
    """Load that is well under way."""
    with ThreadPoolExecutor(CALLERS) as callers:
        load = Load(address, call, callers)
        try:
            load.answered(WARM)
            yield load
        finally:
            load.end()


@pytest.fixture
def sku(world: World, tmp_path: Path) -> str:
    """Goods that are in stock, in both services' databases."""
    with running_inventory(tmp_path) as inventory, running_order(tmp_path, inventory.address) as order:
        shop = Services(tmp_path, inventory, order)
        made = shop.new_sku(STOCK)
        shop.close()
    return made


def creating(sku: str) -> Callable[[grpc.Channel, str], pb.Order]:
    def create(channel: grpc.Channel, request_id: str) -> Any:
        request = create_request(USER, {sku: 1}, request_id=request_id)
        return OrderServiceStub(channel).CreateOrder(request, timeout=TIMEOUT_S)

    return create


def selling(sku: str) -> Callable[[grpc.Channel, str], stock_pb.Sale]:
    def sell(channel: grpc.Channel, order_sn: str) -> Any:
        request = stock_pb.SellRequest(order_sn=order_sn, lines=[stock_pb.SaleLine(sku=sku, quantity=1)])
        return InventoryServiceStub(channel).Sell(request, timeout=TIMEOUT_S)

    return sell


def books_at_rest(folder: Path, inventory: Any, order: Any) -> Books:
    shop = Services(folder, inventory, order)
    wait_until(lambda: not unsettled(folder), "all orders at rest, no stock owed", 2 * TIMEOUT_S)
    books = assert_books_balance(shop.inventory, shop.order, users=[USER])
    shop.close()
    return books


def test_order_stopped_under_load_answers_every_call_that_it_accepted(tmp_path: Path, sku: str) -> None:
    with running_inventory(tmp_path) as inventory:
        with (
            process(tmp_path, order_settings(tmp_path, inventory.address)) as service,
            loading(service.address, creating(sku)) as load,
        ):
            service.stop()  # and its exit code is 0
        assert set(load.errors.values()) <= {grpc.StatusCode.UNAVAILABLE}
        with running_order(tmp_path, inventory.address) as order:
            books = books_at_rest(tmp_path, inventory, order)
    assert {each.order_sn for each in books.orders} == {each.order_sn for each in load.answers.values()}
    assert {each.state for each in books.orders} == {pb.ORDER_STATE_UNPAID}


def test_inventory_stopped_under_load_answers_every_call_that_it_accepted(tmp_path: Path, sku: str) -> None:
    with (
        process(tmp_path, inventory_settings(tmp_path)) as service,
        loading(service.address, selling(sku)) as load,
    ):
        service.stop()  # and its exit code is 0
    assert set(load.errors.values()) <= {grpc.StatusCode.UNAVAILABLE}
    sold = set(sale_states(tmp_path))
    assert sold == set(load.answers)
    with running_inventory(tmp_path) as inventory, grpc.insecure_channel(inventory.address) as channel:
        stub = InventoryServiceStub(channel)
        stock = stub.GetStock(stock_pb.GetStockRequest(sku=sku), timeout=TIMEOUT_S)
        assert (stock.available, stock.sold) == (STOCK - len(sold), len(sold))
        assert not stub.AuditStock(stock_pb.AuditStockRequest(), timeout=TIMEOUT_S).differences


def test_order_killed_under_load_makes_each_order_once_when_the_calls_are_repeated(tmp_path: Path, sku: str) -> None:
    create = creating(sku)
    with running_inventory(tmp_path) as inventory:
        with (
            process(tmp_path, order_settings(tmp_path, inventory.address)) as service,
            loading(service.address, create) as load,
        ):
            service.kill()
        assert set(load.errors.values()) == {grpc.StatusCode.UNAVAILABLE}
        with (
            running_order(tmp_path, inventory.address, {"creating_grace": 6}) as order,
            grpc.insecure_channel(order.address) as channel,
        ):
            repeated = {key: until_done(partial(create, channel, key)) for key in (*load.answers, *load.errors)}
            books = books_at_rest(tmp_path, inventory, order)
    assert {key: repeated[key] for key in load.answers} == load.answers
    assert len(repeated) == len(load.answers) + len(load.errors)
    assert order_sns(books.in_state(pb.ORDER_STATE_UNPAID)) == order_sns(repeated.values())


def test_inventory_killed_while_orders_are_created_sells_each_order_once(tmp_path: Path, sku: str) -> None:
    create = creating(sku)
    with (
        process(tmp_path, inventory_settings(tmp_path)) as killed,
        running_order(tmp_path, killed.address, {"creating_grace": 6}) as order,
        loading(order.address, lambda channel, key: until_done(partial(create, channel, key))) as load,
    ):
        killed.kill()
        with process(tmp_path, inventory_settings(tmp_path, listen=killed.address)) as again:
            load.answered(WARM)
            load.end()
            books = books_at_rest(tmp_path, again, order)
    assert not load.errors
    assert order_sns(books.in_state(pb.ORDER_STATE_UNPAID)) == order_sns(load.answers.values())


def order_sns(orders: Iterable[pb.Order]) -> list[str]:
    return sorted(order.order_sn for order in orders)
