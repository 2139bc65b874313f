"""The sweeper: everything that is due in one round, page by page; what can't be settled is put off, and never lost."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import grpc
import pytest

from common.errors import Unavailable
from order_srv.adapters.models import OrderRow
from order_srv.crash_points import CrashPoint
from order_srv.entrypoints import sweeper
from reback.order.v1 import order_pb2 as pb
from tests.component.order import resting_orders
from tests.component.order.answering import Answering, services_answering
from tests.support.holds import Holds
from tests.support.manual_clock import ManualClock
from tests.support.services import Services
from tests.support.waiting import wait_until

PAGE = 3
ORDERS = 2 * PAGE + 1
A_LONG_TIME = timedelta(days=1)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


pytestmark = pytest.mark.usefixtures("engine")


@pytest.fixture
def deaf_folder(tmp_path: Path) -> str:
    """A broker of the order service's own: inventory hears nothing, and only the sweeper gives stock back."""
    return f"embedded:///{tmp_path}/nobody-listens.db?check_after=600&handlers=1"


@pytest.fixture
def shop(
    tmp_path: Path, deaf_folder: str, clock: ManualClock, holds: Holds, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Services, Answering]]:
    monkeypatch.setattr(sweeper, "_PAGE", PAGE)
    settings = {"broker_url": deaf_folder, "sweep_every": 3600}
    with services_answering(tmp_path, settings, clock=clock, crash_hook=holds) as opened:
        yield opened
        holds.release_all()


def owed(services: Services) -> dict[str, int]:
    """How often inventory was asked in vain for the stock of each order that owes it."""
    database = services.order_service._database
    with database.reading():
        rows = database.select(OrderRow.select().where(OrderRow.return_due.is_null(is_null=False)))
        return {row.order_sn: row.return_tries for row in rows}


def test_one_round_settles_everything_that_is_due(
    shop: tuple[Services, Answering], clock: ManualClock, holds: Holds
) -> None:
    services, _ = shop
    orders = [resting_orders.unpaid(services) for _ in range(ORDERS)]
    cancelled = [resting_orders.cancelled(services) for _ in range(ORDERS)]
    no_timeouts = holds.at(CrashPoint.CLOSE_HALF_SENT)
    clock.advance(A_LONG_TIME)
    no_timeouts.wait()

    services.order_service.sweeper.sweep()

    assert owed(services) == {}
    for order in orders + cancelled:
        assert services.get(order).state == pb.ORDER_STATE_CLOSED
        assert services.available(order.lines[0].sku) == 10
        assert services.own_steps(order.order_sn)[-1] == "STOCK_RETURNED"
    no_timeouts.release()
    services.assert_books_balance()


def test_an_order_owes_its_stock_until_inventory_says_that_it_is_back(
    shop: tuple[Services, Answering], clock: ManualClock
) -> None:
    services, answering = shop
    answering.answers["Reback"] = grpc.StatusCode.INTERNAL
    order = resting_orders.cancelled(services)

    for tries in (1, 2, 3):
        clock.advance(A_LONG_TIME)
        services.order_service.sweeper.sweep()
        assert owed(services) == {order.order_sn: tries}
        assert answering.calls["Reback"] == tries

    answering.acts_first = True  # the stock goes back, and inventory's answer is lost
    clock.advance(A_LONG_TIME)
    services.order_service.sweeper.sweep()
    assert owed(services) == {order.order_sn: 4}
    assert services.available(order.lines[0].sku) == 10
    clock.advance(A_LONG_TIME)
    services.order_service.sweeper.sweep()
    assert owed(services) == {}
    assert answering.calls["Reback"] == 4, "BatchGetSales has told"
    services.assert_books_balance()


def test_inventory_is_asked_again_after_pauses_that_grow(shop: tuple[Services, Answering], clock: ManualClock) -> None:
    services, answering = shop
    answering.answers["Reback"] = grpc.StatusCode.INTERNAL
    resting_orders.cancelled(services)
    clock.advance(timedelta(seconds=1))
    services.order_service.sweeper.sweep()

    for pause in (1, 2, 4, 8):
        asked = answering.calls["Reback"]
        clock.advance(timedelta(seconds=pause) - timedelta(milliseconds=1))
        services.order_service.sweeper.sweep()
        assert answering.calls["Reback"] == asked, f"before {pause} s"
        clock.advance(timedelta(milliseconds=1))
        services.order_service.sweeper.sweep()
        assert answering.calls["Reback"] == asked + 1, f"after {pause} s"


def test_one_order_that_can_not_be_settled_holds_up_no_other(
    shop: tuple[Services, Answering], clock: ManualClock
) -> None:
    services, answering = shop
    stuck = resting_orders.cancelled(services)
    answering.answers["Reback"] = grpc.StatusCode.INTERNAL
    clock.advance(timedelta(seconds=1))
    services.order_service.sweeper.sweep()
    del answering.answers["Reback"]
    others = [resting_orders.cancelled(services) for _ in range(ORDERS)]
    clock.advance(timedelta(milliseconds=500))

    services.order_service.sweeper.sweep()

    assert owed(services) == {stuck.order_sn: 1}
    assert all(services.available(order.lines[0].sku) == 10 for order in others)


def test_without_inventory_a_round_closes_what_is_due_all_the_same(
    shop: tuple[Services, Answering], clock: ManualClock
) -> None:
    services, answering = shop
    order = resting_orders.unpaid(services)
    answering.answers["BatchGetSales"] = grpc.StatusCode.INTERNAL
    clock.advance(A_LONG_TIME)

    with pytest.raises(Unavailable):
        services.order_service.sweeper.sweep()

    assert services.get(order).state == pb.ORDER_STATE_CLOSED
    assert owed(services) == {order.order_sn: 0}


def test_a_service_that_stops_does_not_ask_for_the_rest_of_a_page(
    shop: tuple[Services, Answering],
    clock: ManualClock,
    holds: Holds,
    callers: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    services, answering = shop
    for _ in range(PAGE):
        resting_orders.cancelled(services)
    answering.answers["Reback"] = grpc.StatusCode.INTERNAL
    clock.advance(A_LONG_TIME)
    monkeypatch.setattr(sweeper, "_AT_ONCE", PAGE - 1)
    hold = holds.at(CrashPoint.SWEEP_UNCLEAR)
    sweeping = callers.submit(services.order_service.sweeper.sweep)
    hold.wait()

    stopping = callers.submit(services.order_service.sweeper.stop)
    wait_until(services.order_service.sweeper._stopping.is_set, "it is told to stop")
    hold.release()

    sweeping.result()
    stopping.result()
    assert answering.calls["Reback"] == PAGE - 1
    assert sorted(owed(services).values()) == [0, 1, 1]
