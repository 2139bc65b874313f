"""Orders and payments in lists: whose, in which order, in pages that do not move."""

from collections.abc import Callable
from typing import Any

import grpc
import pytest

from common import paging
from reback.order.v1 import order_pb2 as pb
from tests.component.order import resting_orders
from tests.support.rpc_errors import rpc_error
from tests.support.services import Services


def orders_in_pages(services: Services, user: int, page_size: int, **more: Any) -> list[list[pb.Order]]:
    pages, token = [], ""
    while True:
        request = pb.ListOrdersRequest(user_id=user, page_size=page_size, page_token=token, **more)
        page = services.order.ListOrders(request)
        pages.append(list(page.orders))
        token = page.next_page_token
        if not token:
            return pages


def payments_in_pages(services: Services, page_size: int, **more: Any) -> list[list[pb.Payment]]:
    pages, token = [], ""
    while True:
        page = services.order.ListPayments(pb.ListPaymentsRequest(page_size=page_size, page_token=token, **more))
        pages.append(list(page.payments))
        token = page.next_page_token
        if not token:
            return pages


@pytest.mark.parametrize("page_size", [1, 2, 5, 1000])
def test_a_users_orders_are_listed_newest_first(services: Services, page_size: int) -> None:
    user, sku = services.new_user(), services.new_sku(100)
    made = [services.create(user, {sku: 1}) for _ in range(5)]

    pages = orders_in_pages(services, user, page_size)

    listed = [order for page in pages for order in page]
    assert listed == sorted(made, key=lambda order: order.order_sn, reverse=True)
    times = [order.create_time.ToMilliseconds() for order in listed]
    assert times == sorted(times, reverse=True)
    assert all(len(page) == page_size for page in pages[:-1])


def test_a_page_is_not_moved_by_orders_that_are_made_meanwhile(services: Services) -> None:
    user, sku = services.new_user(), services.new_sku(100)
    made = [services.create(user, {sku: 1}) for _ in range(4)]
    first = services.order.ListOrders(pb.ListOrdersRequest(user_id=user, page_size=2))

    later = [services.create(user, {sku: 1}) for _ in range(2)]
    rest = services.order.ListOrders(pb.ListOrdersRequest(user_id=user, page_size=2, page_token=first.next_page_token))

    assert sorted(order.order_sn for order in [*first.orders, *rest.orders]) == sorted(each.order_sn for each in made)
    assert not rest.next_page_token
    assert len(services.orders_of(user)) == len(made) + len(later)


@pytest.mark.parametrize("state", resting_orders.AT_REST)
def test_orders_are_listed_by_state(services: Services, state: str) -> None:
    order = resting_orders.AT_REST[state](services)
    user = order.user_id
    wanted = pb.OrderState.Value(f"ORDER_STATE_{state}")
    if state != "UNPAID":
        services.create(user, {services.new_sku(): 1})
        services.create(user, {services.new_sku(): 1})

    assert [order for page in orders_in_pages(services, user, 1, state=wanted) for order in page] == [order]
    others = [each for each in pb.OrderState.values() if each not in {0, wanted, pb.ORDER_STATE_UNPAID}]
    assert all(orders_in_pages(services, user, 5, state=other) == [[]] for other in others)


def test_orders_are_seen_by_their_user_alone(services: Services) -> None:
    order, stranger = resting_orders.unpaid(services), services.new_user()

    assert services.orders_of(stranger) == []
    as_stranger = pb.GetOrderRequest(user_id=stranger, order_sn=order.order_sn)
    error = rpc_error(lambda: services.order.GetOrder(as_stranger))
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "ORDER_NOT_FOUND")
    not_theirs = pb.CancelOrderRequest(user_id=stranger, order_sn=order.order_sn)
    no_order = pb.CancelOrderRequest(user_id=stranger, order_sn="nobody's")
    assert rpc_error(lambda: services.order.CancelOrder(not_theirs)).reason == "ORDER_NOT_FOUND"
    assert rpc_error(lambda: services.order.CancelOrder(no_order)).reason == "ORDER_NOT_FOUND"
    assert services.get(order) == order


def test_an_order_in_a_list_is_whole(services: Services) -> None:
    user, skus = services.new_user(), sorted(services.new_sku() for _ in range(3))
    orders = [services.create(user, dict.fromkeys(skus, quantity)) for quantity in (1, 2)]
    for order in orders:
        services.pay(order, amount_cents=1)
        services.pay(order)
    assert services.orders_of(user) == [services.get(order) for order in sorted(orders, key=by_number, reverse=True)]
    assert [line.sku for line in services.orders_of(user)[0].lines] == skus


def by_number(order: pb.Order) -> str:
    return order.order_sn


@pytest.mark.parametrize("page_size", [1, 3, 1000])
def test_payments_are_listed_newest_first(services: Services, page_size: int) -> None:
    order = resting_orders.unpaid(services)
    made = [services.pay(order, amount_cents=amount).payment for amount in (1, 2, 3, 4)]

    listed = [payment for page in payments_in_pages(services, page_size) for payment in page]

    assert [payment for payment in listed if payment.order_sn == order.order_sn] == made[::-1]
    keys = [(payment.create_time.ToNanoseconds(), payment.payment_id) for payment in listed]
    assert keys == sorted(keys, reverse=True)
    assert len(set(keys)) == len(keys)


def test_a_page_of_payments_is_not_moved_by_what_comes_meanwhile(services: Services) -> None:
    order = resting_orders.unpaid(services)
    made = [services.pay(order, amount_cents=amount).payment for amount in (1, 2, 3)]
    first = services.order.ListPayments(pb.ListPaymentsRequest(page_size=2))
    services.pay(order, amount_cents=4)
    rest = services.order.ListPayments(pb.ListPaymentsRequest(page_size=1, page_token=first.next_page_token))
    assert [*first.payments, *rest.payments] == made[::-1]


def test_payments_are_listed_by_outcome(services: Services) -> None:
    order = resting_orders.refunded(services)
    applied = services.pay(resting_orders.unpaid(services)).payment
    sent = services.pay(order).payment
    services.order.MarkRefunded(pb.MarkRefundedRequest(payment_id=sent.payment_id, refund_id="r1"))

    def listed(outcome: "pb.PaymentOutcome.ValueType") -> set[str]:
        return {each.payment_id for page in payments_in_pages(services, 2, outcome=outcome) for each in page}

    assert applied.payment_id in listed(pb.PAYMENT_OUTCOME_APPLIED)
    assert order.payments[0].payment_id in listed(pb.PAYMENT_OUTCOME_REFUND_DUE)
    assert listed(pb.PAYMENT_OUTCOME_REFUNDED) == {sent.payment_id}
    everything = set().union(*(listed(outcome) for outcome in pb.PaymentOutcome.values() if outcome))
    assert listed(pb.PAYMENT_OUTCOME_UNSPECIFIED) == everything


List = Callable[[Services, int, str], Any]
LISTS: dict[str, List] = {
    "goods": lambda services, _, token: services.order.ListGoods(pb.ListGoodsRequest(page_size=1, page_token=token)),
    "cart": lambda services, user, token: services.order.ListCartItems(
        pb.ListCartItemsRequest(user_id=user, page_size=1, page_token=token)
    ),
    "orders": lambda services, user, token: services.order.ListOrders(
        pb.ListOrdersRequest(user_id=user, page_size=1, page_token=token)
    ),
    "payments": lambda services, _, token: services.order.ListPayments(
        pb.ListPaymentsRequest(page_size=1, page_token=token)
    ),
    "timeline": lambda services, user, token: services.order.GetOrderTimeline(
        pb.GetOrderTimelineRequest(order_sn=services.orders_of(user)[0].order_sn, page_size=1, page_token=token)
    ),
}
NO_TOKENS = {
    "no base64": "?",
    "no JSON": paging.encode(("x",))[:-4],
    "no list": "e30=",
    "a number": paging.encode((1,)),
    "too much": paging.encode(("a", "b", "c")),
    "nothing": paging.encode(()),
    "a time that never was": paging.encode((10**30, "x")),
    "a time before all": paging.encode((-(10**18), "x")),
    "more than a column holds": paging.encode((10**30,)),
    "half a character": paging.encode(("\ud800",)),
}


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("token", NO_TOKENS.values(), ids=NO_TOKENS)
def test_a_token_that_no_list_gave_is_an_invalid_argument_or_an_end(services: Services, name: str, token: str) -> None:
    """What has the form of a list's own token may be taken for one: it then stands before or behind every row."""
    user = resting_orders.unpaid(services).user_id
    try:
        LISTS[name](services, user, token)
    except grpc.RpcError:
        error = rpc_error(lambda: LISTS[name](services, user, token))
        assert (error.code, error.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["page_token"])


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("other", ["number", "text", "payments"])
def test_the_token_of_another_list_is_refused(services: Services, name: str, other: str) -> None:
    kinds = {"goods": "text", "cart": "text", "orders": "text", "timeline": "number", "payments": "payments"}
    tokens = {"text": paging.encode(("a",)), "number": paging.encode((1,)), "payments": paging.encode((1, "a"))}
    user = resting_orders.unpaid(services).user_id
    if kinds[name] == other:
        LISTS[name](services, user, tokens[other])
        return
    error = rpc_error(lambda: LISTS[name](services, user, tokens[other]))
    assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")
    assert error.fields == ["page_token"]


@pytest.mark.parametrize("name", ["orders", "payments", "goods", "timeline"])
def test_a_list_has_a_token_exactly_while_there_is_more(services: Services, name: str) -> None:
    user = resting_orders.cancelled(services).user_id
    resting_orders.refunded(services)
    seen, token = 0, ""
    while True:
        page = LISTS[name](services, user, token)
        items = len(page.ListFields()[0][1])
        seen, token = seen + items, page.next_page_token
        assert items == 1
        if not token:
            break
    assert seen >= 1
