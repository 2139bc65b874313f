"""What systems of this kind got wrong about orders at rest; the numbers are the list's own."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.timestamp_pb2 import Timestamp

from reback.inventory.v1 import inventory_pb2 as stock_pb
from reback.order.v1 import order_pb2 as pb
from tests.component.order import resting_orders
from tests.component.order.carts import cart, put
from tests.support.rpc_errors import rpc_error
from tests.support.services import (
    Services,
    create_request,
    pay_request,
)

# 13


@pytest.mark.parametrize("number", [-1, 7, 99])
def test_pitfall_13_a_state_that_is_none_is_refused(services: Services, number: int) -> None:
    user = resting_orders.unpaid(services).user_id
    by_state = pb.ListOrdersRequest(user_id=user, state=number)  # type: ignore[arg-type]
    by_outcome = pb.ListPaymentsRequest(outcome=number)  # type: ignore[arg-type]
    assert rpc_error(lambda: services.order.ListOrders(by_state)).fields == ["state"]
    assert rpc_error(lambda: services.order.ListPayments(by_outcome)).fields == ["outcome"]


@pytest.mark.parametrize("make", [resting_orders.cancelled, resting_orders.refunded, resting_orders.failed])
def test_pitfall_13_a_dead_order_never_becomes_paid(services: Services, make: resting_orders.Make) -> None:
    order = make(services)
    payment = services.pay(order).payment
    assert payment.outcome == pb.PAYMENT_OUTCOME_REFUND_DUE
    after = services.get(order)
    assert (after.state, after.pay_time) == (order.state, order.pay_time)


def test_pitfall_13_a_time_that_is_missing_is_absent_and_never_1970(services: Services) -> None:
    order = resting_orders.unpaid(services)
    without_time = pay_request(order)
    without_time.ClearField("paid_time")
    error = rpc_error(lambda: services.order.PayOrder(without_time))
    assert (error.code, error.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["paid_time"])
    in_1970 = rpc_error(lambda: services.pay(order, paid_time=Timestamp()))
    assert in_1970.fields == ["paid_time"]
    assert services.get(order) == order
    assert not order.HasField("pay_time")
    assert not order.HasField("close_time")
    paid = services.pay(order, paid_time=Timestamp(seconds=1_700_000_000, nanos=999_999_999))
    assert paid.order.pay_time == Timestamp(seconds=1_700_000_000, nanos=999_999_000)
    assert not paid.payment.HasField("refund_time")


# 14


def test_pitfall_14_a_double_click_makes_one_order(services: Services, callers: ThreadPoolExecutor) -> None:
    user, sku = services.new_user(), services.new_sku(100)
    put(services, user, sku, 2)
    for lines in ({sku: 2}, {}):
        request = create_request(user, lines)
        clicks = [callers.submit(services.order.CreateOrder, request) for _ in range(2)]
        first, second = (click.result() for click in clicks)
        assert first == second
    assert len(services.orders_of(user)) == 2


def test_pitfall_14_another_users_cart_is_left_alone(services: Services) -> None:
    one, other, sku = services.new_user(), services.new_user(), services.new_sku(100)
    put(services, one, sku, 5)
    put(services, other, sku, 5)
    services.create(one, {})
    assert cart(services, other) == [(sku, 5, True)]


# 15


def test_pitfall_15_goods_that_can_not_be_ordered_are_named_and_never_dropped(services: Services) -> None:
    user, fine, gone = services.new_user(), services.new_sku(5), services.new_sku(5)
    off, unpriced = services.new_sku(5, on_sale=False), services.new_sku(5, None)
    services.order.DeleteGoods(pb.DeleteGoodsRequest(sku=gone))

    error = rpc_error(lambda: services.create(user, {fine: 1, off: 1, unpriced: 1, gone: 1, "never was": 1}))

    assert (error.code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "GOODS_UNAVAILABLE")
    assert error.conditions is not None
    assert sorted(error.conditions) == sorted(
        ("GOODS_UNAVAILABLE", sku, why)
        for sku, why in {
            off: "off sale",
            unpriced: "without a price",
            gone: "not in the price book",
            "never was": "not in the price book",
        }.items()
    )
    assert services.orders_of(user) == []
    assert services.available(fine) == 5


def test_pitfall_15_a_cart_with_goods_that_left_the_price_book_is_refused_and_kept(services: Services) -> None:
    user, fine, gone = services.new_user(), services.new_sku(5), services.new_sku(5)
    put(services, user, fine, 1)
    put(services, user, gone, 1)
    services.order.DeleteGoods(pb.DeleteGoodsRequest(sku=gone))
    before = cart(services, user)

    error = rpc_error(lambda: services.create(user, {}))

    assert (error.reason, error.subjects) == ("GOODS_UNAVAILABLE", [gone])
    assert cart(services, user) == before
    assert services.orders_of(user) == []


# 16


def messages_of(file: object) -> Iterator[Descriptor]:
    yield from file.message_types_by_name.values()  # type: ignore[attr-defined]


@pytest.mark.parametrize("contract", [pb, stock_pb])
def test_pitfall_16_no_number_of_the_contract_is_a_float(contract: object) -> None:
    floats = {FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE}
    for message in messages_of(contract.DESCRIPTOR):  # type: ignore[attr-defined]
        for field in message.fields:
            assert field.type not in floats, field.full_name
            if field.name.endswith("_cents"):
                assert field.type == FieldDescriptor.TYPE_INT64, field.full_name


def test_pitfall_16_money_is_exact_to_the_cent(services: Services) -> None:
    user, sku = services.new_user(), services.new_sku(2**31 - 1, 4_194_303)
    order = services.create(user, {sku: 2**31 - 1})
    assert order.total_cents == 4_194_303 * (2**31 - 1)
    almost = services.pay(order, amount_cents=order.total_cents - 1)
    assert almost.payment.refund_reason == pb.REFUND_REASON_WRONG_AMOUNT
    assert almost.payment.amount_cents == order.total_cents - 1
    assert services.pay(order).payment.outcome == pb.PAYMENT_OUTCOME_APPLIED


def methods_with_user() -> list[str]:
    methods = pb.DESCRIPTOR.services_by_name["OrderService"].methods
    return [method.name for method in methods if "user_id" in method.input_type.fields_by_name]


@pytest.mark.parametrize("method", methods_with_user())
@pytest.mark.parametrize("user", [0, -1, -(2**63)])
def test_pitfall_16_user_0_is_nobody(services: Services, method: str, user: int) -> None:
    order = resting_orders.unpaid(services)
    request_class = getattr(pb, f"{method}Request")
    given = {
        "order_sn": order.order_sn,
        "sku": order.lines[0].sku,
        "skus": [order.lines[0].sku],
        "quantity": 1,
        "request_id": "r",
        "recipient": order.recipient,
    }
    known = {name: value for name, value in given.items() if name in request_class.DESCRIPTOR.fields_by_name}

    error = rpc_error(lambda: getattr(services.order, method)(request_class(user_id=user, **known)))

    assert (error.code, error.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["user_id"])


def lists() -> list[str]:
    return [
        method.name
        for method in pb.DESCRIPTOR.services_by_name["OrderService"].methods
        if any(field.message_type is not None and field.is_repeated for field in method.output_type.fields)
        and method.output_type.name.endswith("Response")
        and method.name != "BatchGetGoods"
    ]


def test_pitfall_16_every_list_has_pages_with_a_limit(services: Services) -> None:
    assert set(lists()) == {"ListGoods", "ListCartItems", "ListOrders", "ListPayments", "GetOrderTimeline"}
    order = resting_orders.unpaid(services)
    for method in lists():
        request_class = getattr(pb, f"{method}Request")
        whose = {"user_id": order.user_id, "order_sn": order.order_sn}
        known = {name: value for name, value in whose.items() if name in request_class.DESCRIPTOR.fields_by_name}
        call = getattr(services.order, method)
        for page_size in (-1, 1001, 2**31 - 1):
            error = rpc_error(lambda: call(request_class(page_size=page_size, **known)))  # noqa: B023 - called at once
            assert error.fields == ["page_size"], method
        assert call(request_class(page_size=1000, **known)).next_page_token == ""
