"""Two replicas of the order service on one database and one broker: the row alone decides between them."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import pytest

from reback.order.v1 import order_pb2 as pb
from tests.component.order.carts import cart, put
from tests.support.rpc_errors import read
from tests.support.services import Services, create_request, pay_request, running_inventory, running_order

ROUNDS = 10

pytestmark = pytest.mark.usefixtures("engine")


@pytest.fixture
def replicas(tmp_path: Path) -> Iterator[list[Services]]:
    """The same shop seen through each of them."""
    with (
        running_inventory(tmp_path) as inventory,
        running_order(tmp_path, inventory.address) as one,
        running_order(tmp_path, inventory.address) as other,
    ):
        shops = [Services(tmp_path, inventory, order) for order in (one, other)]
        shops[1].users, shops[1]._users = shops[0].users, shops[0]._users
        yield shops
        shops[0].assert_books_balance()
        for shop in shops:
            shop.close()


def at_both(calls: list[Callable[[], Any]]) -> list[Any]:
    """What calls that are made at the same time answer; the reason of an error."""

    def answer(call: Callable[[], Any]) -> Any:
        try:
            return call()
        except grpc.RpcError as error:
            return read(error).reason

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(answer, calls))


def test_one_request_at_both_makes_one_order(replicas: list[Services]) -> None:
    user, sku = replicas[0].new_user(), replicas[0].new_sku(ROUNDS)
    for _ in range(ROUNDS):
        request = create_request(user, {sku: 1})

        one, other = at_both([partial(shop.order.CreateOrder, request) for shop in replicas])

        assert one == other
    assert len(replicas[0].orders_of(user)) == ROUNDS
    assert replicas[0].available(sku) == 0


def test_the_last_unit_asked_for_at_both_is_one_users(replicas: list[Services]) -> None:
    for _ in range(ROUNDS):
        sku = replicas[0].new_sku(1)

        made = at_both([partial(shop.create, shop.new_user(), {sku: 1}) for shop in replicas])

        assert sorted(isinstance(each, pb.Order) for each in made) == [False, True]
        assert "NO_STOCK" in made
        assert replicas[0].available(sku) == 0


def test_one_payment_at_both_is_recorded_once(replicas: list[Services]) -> None:
    user, sku = replicas[0].new_user(), replicas[0].new_sku(ROUNDS)
    for _ in range(ROUNDS):
        order = replicas[0].create(user, {sku: 1})
        request = pay_request(order)

        one, other = at_both([partial(shop.order.PayOrder, request) for shop in replicas])

        assert one.payment == other.payment
        assert one.payment.outcome == pb.PAYMENT_OUTCOME_APPLIED
        assert replicas[0].steps(order.order_sn).count("PAID") == 1


def test_of_two_payments_at_both_one_is_applied_and_the_other_due_back(replicas: list[Services]) -> None:
    user, sku = replicas[0].new_user(), replicas[0].new_sku(ROUNDS)
    for _ in range(ROUNDS):
        order = replicas[0].create(user, {sku: 1})

        paid = at_both([partial(shop.pay, order) for shop in replicas])

        outcomes = sorted(each.payment.outcome for each in paid)
        assert outcomes == sorted([pb.PAYMENT_OUTCOME_APPLIED, pb.PAYMENT_OUTCOME_REFUND_DUE])
        assert replicas[1].get(order).state == pb.ORDER_STATE_PAID


def test_of_a_payment_and_a_cancel_at_both_the_first_decides(replicas: list[Services]) -> None:
    user, sku = replicas[0].new_user(), replicas[0].new_sku(ROUNDS)
    for _ in range(ROUNDS):
        order = replicas[0].create(user, {sku: 1})
        cancel = pb.CancelOrderRequest(user_id=user, order_sn=order.order_sn, reason="not mine")

        paid, cancelled = at_both([partial(replicas[0].pay, order), partial(replicas[1].order.CancelOrder, cancel)])

        if paid.payment.outcome == pb.PAYMENT_OUTCOME_APPLIED:
            assert cancelled == "ORDER_PAID"
        else:
            assert cancelled.state == pb.ORDER_STATE_CLOSED
            assert paid.payment.refund_reason == pb.REFUND_REASON_CLOSED


def test_one_cart_item_put_at_both_is_there_once(replicas: list[Services]) -> None:
    user = replicas[0].new_user()
    for _ in range(ROUNDS):
        sku = replicas[0].new_sku(1)

        at_both([partial(put, replicas[n], user, sku, n + 1) for n in range(2)])

        assert [item for item, _, _ in cart(replicas[0], user) if item == sku] == [sku]
