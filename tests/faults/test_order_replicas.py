"""Two order services on one database and one broker, as processes of their own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import grpc
import pytest

from inventory_srv.bootstrap import InventoryService
from order_srv.bootstrap import OrderService
from order_srv.crash_points import CrashPoint
from reback.order.v1 import order_pb2 as pb
from tests.support.repeated_calls import until_done
from tests.support.service_process import Process, process
from tests.support.services import Services, create_request, order_settings, running_order
from tests.support.tables import let_orders_be_due, states, unsettled
from tests.support.waiting import TIMEOUT_S, wait_until

ORDERS: Final = 30
ALL: Final = 100
BUSY_SWEEPER: Final = {"sweep_every": 0.05, "sweep_grace": 0, "return_after": 0.1, "creating_grace": 3}


@contextmanager
def shop_of(folder: Path, inventory: InventoryService, order: Process | OrderService) -> Iterator[Services]:
    shop = Services(folder, inventory, order)  # type: ignore[arg-type]  # it has an address
    try:
        yield shop
    finally:
        shop.close()


def test_two_sweepers_close_each_order_and_return_its_stock_once(tmp_path: Path, inventory: InventoryService) -> None:
    with running_order(tmp_path, inventory.address) as order:
        shop = Services(tmp_path, inventory, order)
        user, sku = shop.new_user(), shop.new_sku(ALL)
        made = [shop.create(user, {sku: 1}).order_sn for _ in range(ORDERS)]
        shop.close()
    let_orders_be_due(tmp_path)
    settings = order_settings(tmp_path, inventory.address, **BUSY_SWEEPER)
    with process(tmp_path, settings) as first, process(tmp_path, settings) as second:
        with shop_of(tmp_path, inventory, first) as shop:
            shop.users = {user}
            wait_until(lambda: set(states(tmp_path)) == {"CLOSED"} and not unsettled(tmp_path), "all closed")
            books = shop.assert_books_balance()
            assert {each.order_sn for each in books.orders} == set(made)
            assert all(shop.steps(order_sn).count("CLOSED") == 1 for order_sn in made)
            assert shop.available(sku) == ALL
        first.stop()
        second.stop()


@pytest.mark.parametrize("point", [CrashPoint.CREATE_SOLD, CrashPoint.CREATE_MOVED])
def test_replica_settles_what_another_left_behind_when_it_was_killed(
    tmp_path: Path, inventory: InventoryService, point: CrashPoint
) -> None:
    dies = order_settings(tmp_path, inventory.address, **BUSY_SWEEPER, crash_at=point.value)
    with process(tmp_path, dies) as killed, running_order(tmp_path, inventory.address, BUSY_SWEEPER) as other:
        with shop_of(tmp_path, inventory, killed) as shop:
            user, sku = shop.new_user(), shop.new_sku(ALL)
            request = create_request(user, {sku: 1})
            with pytest.raises(grpc.RpcError):
                shop.order.CreateOrder(request)
            killed.wait_until_killed()
        with shop_of(tmp_path, inventory, other) as shop:
            shop.users = {user}
            order = until_done(lambda: shop.order.CreateOrder(request, timeout=TIMEOUT_S))
            wait_until(lambda: not unsettled(tmp_path), "nothing is left behind")
            assert shop.assert_books_balance().in_state(pb.ORDER_STATE_UNPAID) == [order]
            assert shop.available(sku) == ALL - 1
