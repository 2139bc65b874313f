"""kill -9 of the inventory service between taking a batch, COMMIT and answering; then a restart."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import grpc
import pytest

from common.clock import SystemClock
from common.crash_points import CrashHook
from common.messaging.port import Message
from inventory_srv.crash_points import CrashPoint
from inventory_srv.entrypoints.consumers import TOPIC
from reback.inventory.v1 import inventory_pb2 as pb
from reback.inventory.v1.inventory_pb2_grpc import InventoryServiceStub
from tests.support.service_process import Process, process
from tests.support.services import inventory_settings, running_inventory
from tests.support.tables import sale_states
from tests.support.waiting import TIMEOUT_S, wait_until
from tests.support.worlds import World, world_of

LANDED: Final = {
    CrashPoint.BATCH_TAKEN: False,
    CrashPoint.LOCK_HELD: False,
    CrashPoint.ROWS_HELD: False,
    CrashPoint.BATCH_BEFORE_COMMIT: False,
    CrashPoint.BATCH_COMMITTED: True,
    CrashPoint.LOCK_RELEASED: True,
    CrashPoint.CALLER_ANSWERED: True,
}
"""Whether what the writer was doing is done, for each point at which it may die."""

CONSUMERS_OWN: Final = {CrashPoint.REBACK_DONE}

SALES: Final = {f"o{n}": {"tea": 1, "mug": 2} for n in range(5)}
STOCKED: Final = 20
BROKER: Final = "lease=1"


def test_every_crash_point_is_tried() -> None:
    assert LANDED.keys() | CONSUMERS_OWN == set(CrashPoint)


@pytest.mark.parametrize("point", LANDED)
def test_a_sell_killed_at_any_gap_and_repeated_is_one_sale(
    point: CrashPoint, tmp_path: Path, timed_world: World
) -> None:
    stock_up(tmp_path)
    with dying(tmp_path, point) as (service, stub):
        calls = [stub.Sell.future(sell_request(order_sn), timeout=TIMEOUT_S) for order_sn in SALES]
        service.wait_until_killed()
        answered = [call for call in calls if call.exception(TIMEOUT_S) is None]
    assert bool(sale_states(tmp_path)) is LANDED[point]
    assert all(call.result().order_sn in sale_states(tmp_path) for call in answered)

    with serving(tmp_path) as stub:
        first = [stub.Sell(sell_request(order_sn), timeout=TIMEOUT_S) for order_sn in SALES]
        again = [stub.Sell(sell_request(order_sn), timeout=TIMEOUT_S) for order_sn in SALES]
        assert first == again
        assert {sale.state for sale in first} == {pb.SALE_STATE_SOLD}
        assert all(call.result() in first for call in answered)
        assert units(stub, "tea") == (STOCKED - 5, 5)
        assert units(stub, "mug") == (STOCKED - 10, 10)
        assert_books_balance(stub)


@pytest.mark.parametrize("point", LANDED)
def test_a_batch_of_sells_killed_at_any_gap_and_repeated_sells_each_order_once(
    point: CrashPoint, tmp_path: Path, timed_world: World
) -> None:
    stock_up(tmp_path)
    request = pb.BatchSellRequest(sells=[sell_request(order_sn) for order_sn in SALES])
    with dying(tmp_path, point) as (service, stub):
        call = stub.BatchSell.future(request, timeout=TIMEOUT_S)
        service.wait_until_killed()
        answered = [] if call.exception(TIMEOUT_S) else list(call.result().results)
    assert sale_states(tmp_path) == (dict.fromkeys(SALES, "SOLD") if LANDED[point] else {})

    with serving(tmp_path) as stub:
        first = list(stub.BatchSell(request, timeout=TIMEOUT_S).results)
        single = [stub.Sell(sell_request(order_sn), timeout=TIMEOUT_S) for order_sn in SALES]
        assert [result.sale for result in first] == single
        assert answered in ([], first)
        assert units(stub, "tea") == (STOCKED - 5, 5)
        assert units(stub, "mug") == (STOCKED - 10, 10)
        assert_books_balance(stub)


@pytest.mark.parametrize("point", LANDED)
def test_a_reback_killed_at_any_gap_and_repeated_returns_once(
    point: CrashPoint, tmp_path: Path, timed_world: World
) -> None:
    stock_up(tmp_path)
    with serving(tmp_path) as stub:
        stub.Sell(sell_request("o1"), timeout=TIMEOUT_S)
    with dying(tmp_path, point) as (service, stub):
        call = stub.Reback.future(pb.RebackRequest(order_sn="o1", reason="close"), timeout=TIMEOUT_S)
        service.wait_until_killed()
        call.exception(TIMEOUT_S)
    assert sale_states(tmp_path) == {"o1": "RETURNED" if LANDED[point] else "SOLD"}

    with serving(tmp_path) as stub:
        for _ in range(2):
            stub.Reback(pb.RebackRequest(order_sn="o1", reason="close"), timeout=TIMEOUT_S)
        assert units(stub, "tea") == (STOCKED, 0)
        assert len(stub.ListMovements(pb.ListMovementsRequest(order_sn="o1")).movements) == 4
        assert_books_balance(stub)


BETWEEN_REBACKS: Final = {CrashPoint.CALLER_ANSWERED: 1, CrashPoint.REBACK_DONE: 3}
"""How many of three orders that a message names are given back, for each point at which its consumer may die while they
are not merged."""


@pytest.mark.parametrize("point", BETWEEN_REBACKS)
def test_a_reback_message_killed_before_it_is_acknowledged_comes_again_and_returns_each_order_once(
    point: CrashPoint, tmp_path: Path, world: World
) -> None:
    stock_up(tmp_path)
    order_sns = ["o1", "o2", "o3"]
    with serving(tmp_path) as stub:
        sell_all(stub, order_sns)
    with dying(tmp_path, point, batch=1) as (service, stub):
        publish_reback(tmp_path, *order_sns)
        service.wait_until_killed()
    assert sorted(sale_states(tmp_path).values()).count("RETURNED") == BETWEEN_REBACKS[point]

    passed: list[str] = []
    with serving(tmp_path, passed.append) as stub:
        wait_until(lambda: CrashPoint.REBACK_DONE in passed, "the message is handled again")
        assert units(stub, "tea") == (STOCKED, 0)
        for order_sn in order_sns:
            assert len(stub.ListMovements(pb.ListMovementsRequest(order_sn=order_sn)).movements) == 4
        assert_books_balance(stub)


def test_of_two_replicas_on_one_database_one_is_killed_and_no_sale_is_lost_or_doubled(
    tmp_path: Path, timed_world: World
) -> None:
    stock_up(tmp_path, units=300)
    orders = {f"o{n}": {"tea": 1, "mug": 1} for n in range(250)}
    with dying(tmp_path) as (killed, stub), serving(tmp_path) as other:
        requests = [sell_request(order_sn, lines) for order_sn, lines in orders.items()]
        calls = [stub.Sell.future(request, timeout=TIMEOUT_S) for request in requests]
        others = [other.Sell.future(request, timeout=TIMEOUT_S) for request in reversed(requests)]
        calls[20].result(TIMEOUT_S)
        killed.kill()

        answered = [call.result() for call in calls if call.exception(TIMEOUT_S) is None]
        sales = {sale.order_sn: sale for sale in (call.result(TIMEOUT_S) for call in others)}

        assert len(answered) >= 1
        assert all(sales[sale.order_sn] == sale for sale in answered)
        assert all(other.Sell(request, timeout=TIMEOUT_S) == sales[request.order_sn] for request in requests[:5])
        assert units(other, "tea") == units(other, "mug") == (50, 250)
        assert_books_balance(other)


@contextmanager
def dying(folder: Path, crash_at: str = "", **more: Any) -> Iterator[tuple[Process, InventoryServiceStub]]:
    """The service as a process that can be killed, in the world of `folder`, and a stub of it."""
    settings = inventory_settings(folder, **world_of(folder).broker(BROKER), crash_at=crash_at, **more)
    with process(folder, settings) as service, grpc.insecure_channel(service.address) as channel:
        yield service, InventoryServiceStub(channel)


@contextmanager
def serving(folder: Path, crash_hook: CrashHook | None = None) -> Iterator[InventoryServiceStub]:
    """A stub of the service in the world of `folder`: what is there before a crash and after it."""
    with (
        running_inventory(folder, world_of(folder).broker(BROKER), crash_hook=crash_hook) as service,
        grpc.insecure_channel(service.address) as channel,
    ):
        yield InventoryServiceStub(channel)


def stock_up(folder: Path, units: int = STOCKED) -> None:
    with serving(folder) as stub:
        for sku in ("tea", "mug"):
            stub.SetStock(pb.SetStockRequest(sku=sku, quantity=units), timeout=TIMEOUT_S)


def sell_all(stub: InventoryServiceStub, order_sns: Iterable[str]) -> None:
    for order_sn in order_sns:
        stub.Sell(sell_request(order_sn), timeout=TIMEOUT_S)


def sell_request(order_sn: str, lines: dict[str, int] | None = None) -> pb.SellRequest:
    wanted = lines or SALES["o1"]
    return pb.SellRequest(order_sn=order_sn, lines=[pb.SaleLine(sku=sku, quantity=n) for sku, n in wanted.items()])


def publish_reback(folder: Path, *order_sns: str) -> None:
    body = {"cause": "cancel", "orders": [{"order_sn": order_sn} for order_sn in order_sns]}
    broker = world_of(folder).open_broker(SystemClock(), BROKER)
    broker.publish(Message(TOPIC, order_sns[0], json.dumps(body).encode()))
    broker.close()


def units(stub: InventoryServiceStub, sku: str) -> tuple[int, int]:
    stock = stub.GetStock(pb.GetStockRequest(sku=sku), timeout=TIMEOUT_S)
    return stock.available, stock.sold


def assert_books_balance(stub: InventoryServiceStub) -> None:
    assert list(stub.AuditStock(pb.AuditStockRequest(page_size=1000), timeout=TIMEOUT_S).differences) == []
