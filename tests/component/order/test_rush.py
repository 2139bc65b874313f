"""Many callers at once: the last unit is one caller's, and the books balance afterwards."""

import random
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from reback.order.v1 import order_pb2 as pb
from reback.order.v1.order_pb2_grpc import OrderServiceStub
from tests.component.order import resting_orders
from tests.support.rpc_errors import read
from tests.support.services import Services, create_request, running_services

CALLERS = 500
TIMEOUT_S = 100.0
TOLD_TO_COME_AGAIN = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED}


@pytest.fixture(scope="module")
def services(shop_folder: Path) -> Iterator[Services]:
    """Both services, patient: on a slow machine some of many callers wait long for their turn."""
    never_asks = f"embedded:///{shop_folder}/broker.db?check_after=600"
    patient = {"broker_url": never_asks, "creating_grace": 2 * TIMEOUT_S}
    with running_services(shop_folder, patient) as shared:
        yield shared


@pytest.fixture
def channels(services: Services) -> Iterator[list[grpc.Channel]]:
    """Connections of many clients."""
    opened = [grpc.insecure_channel(services.order_service.address, [("reback.client", each)]) for each in range(8)]
    yield opened
    for channel in opened:
        channel.close()


def test_of_500_callers_for_the_last_unit_exactly_one_has_an_order(
    services: Services, channels: list[grpc.Channel]
) -> None:
    sku = services.new_sku(1)
    stubs = [OrderServiceStub(channel) for channel in channels]
    users = [services.new_user() for _ in range(CALLERS)]

    calls: list[Any] = [
        stubs[number % len(stubs)].CreateOrder.future(create_request(user, {sku: 1}), timeout=TIMEOUT_S)
        for number, user in enumerate(users)
    ]

    orders = [call.result() for call in calls if call.exception() is None]
    errors = [read(call.exception()) for call in calls if call.exception() is not None]
    assert [order.state for order in orders] == [pb.ORDER_STATE_UNPAID]
    answer = Counter((error.code, error.reason) for error in errors)
    no_stock = answer.pop((grpc.StatusCode.FAILED_PRECONDITION, "NO_STOCK"))
    assert {code for code, _ in answer} <= TOLD_TO_COME_AGAIN, answer
    assert no_stock + sum(answer.values()) == CALLERS - 1
    assert (services.stock(sku).available, services.stock(sku).sold) == (0, 1)
    books = services.assert_books_balance()
    assert [order for order in books.in_state(pb.ORDER_STATE_UNPAID) if order.lines[0].sku == sku] == orders


def test_a_rush_for_what_is_sold_out_does_not_flood_the_broker(services: Services, callers: ThreadPoolExecutor) -> None:
    sku, users = services.new_sku(0), [services.new_user() for _ in range(200)]

    errors = list(callers.map(lambda user: refused(services, user, sku), users))

    assert set(errors) == {"NO_STOCK"}
    written = sum(len(services.orders_of(user)) for user in users)
    assert written < len(users) / 2, "most are refused before anything is written"


def refused(services: Services, user: int, sku: str) -> str:
    with pytest.raises(grpc.RpcError) as failure:
        services.create(user, {sku: 1})
    return read(failure.value).reason


def test_twelve_skus_in_random_order_by_32_callers_without_an_error(services: Services) -> None:
    skus = [services.new_sku(10_000) for _ in range(12)]

    def life_of(seed: int) -> list[pb.Order]:
        chance, user = random.Random(seed), services.new_user()
        orders = []
        for _ in range(8):
            chosen = chance.sample(skus, chance.randint(1, 12))
            order = services.create(user, {sku: chance.randint(1, 5) for sku in chosen})
            moves = [leave, resting_orders.cancel, pay, pay_and_refund, pay_and_finish]
            orders.append(chance.choice(moves)(services, order))
        return orders

    with ThreadPoolExecutor(32) as pool:
        made = [order for orders in pool.map(life_of, range(32)) for order in orders]

    assert len(made) == 32 * 8
    books = services.assert_books_balance()
    by_number = {order.order_sn: order for order in books.orders}
    assert all(by_number[order.order_sn] == order for order in made)
    assert {order.state for order in made} == {
        pb.ORDER_STATE_UNPAID,
        pb.ORDER_STATE_PAID,
        pb.ORDER_STATE_FINISHED,
        pb.ORDER_STATE_CLOSED,
    }


def leave(services: Services, order: pb.Order) -> pb.Order:
    return order


def pay(services: Services, order: pb.Order) -> pb.Order:
    return services.pay(order).order


def pay_and_refund(services: Services, order: pb.Order) -> pb.Order:
    return resting_orders.refund(services, pay(services, order))


def pay_and_finish(services: Services, order: pb.Order) -> pb.Order:
    return resting_orders.finish(services, pay(services, order))
