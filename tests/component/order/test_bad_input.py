"""A field that breaks its rule, over real gRPC: INVALID_ARGUMENT that names the field, and nothing happens."""

from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import Descriptor
from google.protobuf.timestamp_pb2 import Timestamp

from reback.order.v1 import order_pb2 as pb
from tests.component.order.contents import contents
from tests.support.rpc_errors import rpc_error
from tests.support.services import RECIPIENT, Services

LONG = "茶" * 65
LONG_TOKEN = "x" * 1001
NOW = Timestamp(seconds=1_700_000_000)


def goods(**changes: Any) -> pb.PutGoodsRequest:
    return pb.PutGoodsRequest(goods=pb.Goods(**{"sku": "tea", "name": "Tea", "currency": "EUR", **changes}))


def item(**changes: Any) -> pb.PutCartItemRequest:
    return pb.PutCartItemRequest(**{"user_id": 1, "sku": "tea", "quantity": 1, **changes})


def create(**changes: Any) -> pb.CreateOrderRequest:
    fields = {"user_id": 1, "request_id": "r", "recipient": RECIPIENT, "lines": [line()]}
    return pb.CreateOrderRequest(**{**fields, **changes})


def line(sku: str = "tea", quantity: int = 1) -> pb.CreateOrderLine:
    return pb.CreateOrderLine(sku=sku, quantity=quantity)


def to(**changes: str) -> pb.Recipient:
    return pb.Recipient(**{"name": "Ada", "mobile": "1", "address": "here", **changes})


def pay(**changes: Any) -> pb.PayOrderRequest:
    fields = {"order_sn": "o", "payment_id": "p", "amount_cents": 1, "currency": "EUR", "paid_time": NOW}
    return pb.PayOrderRequest(**{**fields, **changes})


Case = tuple[str, Any, str]

GOODS: list[Case] = [
    ("PutGoods", pb.PutGoodsRequest(), "goods"),
    ("PutGoods", goods(sku=""), "goods.sku"),
    ("PutGoods", goods(sku=LONG), "goods.sku"),
    ("PutGoods", goods(name=""), "goods.name"),
    ("PutGoods", goods(name="茶" * 201), "goods.name"),
    ("PutGoods", goods(image_url="x" * 2001), "goods.image_url"),
    ("PutGoods", goods(price_cents=-1), "goods.price_cents"),
    ("PutGoods", goods(price_cents=10**11 + 1), "goods.price_cents"),
    ("PutGoods", goods(currency=""), "goods.currency"),
    ("PutGoods", goods(currency="EURO"), "goods.currency"),
    ("PutGoods", goods(currency="eur"), "goods.currency"),
    ("PutGoods", goods(currency="EUR\n"), "goods.currency"),
    ("PutGoods", goods(currency="ÄÖÜ"), "goods.currency"),
    ("PutGoods", goods(currency="ABC"), "goods.currency"),
    ("PutGoods", goods(currency="XAU"), "goods.currency"),
    ("BatchGetGoods", pb.BatchGetGoodsRequest(), "skus"),
    ("BatchGetGoods", pb.BatchGetGoodsRequest(skus=["tea"] * 1001), "skus"),
    ("BatchGetGoods", pb.BatchGetGoodsRequest(skus=["tea", ""]), "skus[1]"),
    ("BatchGetGoods", pb.BatchGetGoodsRequest(skus=["tea", LONG]), "skus[1]"),
    ("ListGoods", pb.ListGoodsRequest(page_size=-1), "page_size"),
    ("ListGoods", pb.ListGoodsRequest(page_size=1001), "page_size"),
    ("ListGoods", pb.ListGoodsRequest(page_token=LONG_TOKEN), "page_token"),
    ("ListGoods", pb.ListGoodsRequest(page_token="page 2"), "page_token"),
    ("DeleteGoods", pb.DeleteGoodsRequest(), "sku"),
    ("DeleteGoods", pb.DeleteGoodsRequest(sku=LONG), "sku"),
]

CARTS: list[Case] = [
    ("PutCartItem", item(user_id=0), "user_id"),
    ("PutCartItem", item(sku=""), "sku"),
    ("PutCartItem", item(sku=LONG), "sku"),
    ("PutCartItem", item(quantity=0), "quantity"),
    ("PutCartItem", item(quantity=-1), "quantity"),
    ("PutCartItem", item(quantity=2**31), "quantity"),
    ("ListCartItems", pb.ListCartItemsRequest(), "user_id"),
    ("ListCartItems", pb.ListCartItemsRequest(user_id=1, page_size=-1), "page_size"),
    ("ListCartItems", pb.ListCartItemsRequest(user_id=1, page_size=1001), "page_size"),
    ("ListCartItems", pb.ListCartItemsRequest(user_id=1, page_token=LONG_TOKEN), "page_token"),
    ("ListCartItems", pb.ListCartItemsRequest(user_id=1, page_token="page 2"), "page_token"),
    ("DeleteCartItems", pb.DeleteCartItemsRequest(skus=["tea"]), "user_id"),
    ("DeleteCartItems", pb.DeleteCartItemsRequest(user_id=1), "skus"),
    ("DeleteCartItems", pb.DeleteCartItemsRequest(user_id=1, skus=["tea"] * 1001), "skus"),
    ("DeleteCartItems", pb.DeleteCartItemsRequest(user_id=1, skus=[""]), "skus[0]"),
    ("DeleteCartItems", pb.DeleteCartItemsRequest(user_id=1, skus=[LONG]), "skus[0]"),
]

CREATES: list[Case] = [
    ("CreateOrder", create(user_id=0), "user_id"),
    ("CreateOrder", create(request_id=""), "request_id"),
    ("CreateOrder", create(request_id=LONG), "request_id"),
    ("CreateOrder", create(lines=[line(f"s{number}") for number in range(101)]), "lines"),
    ("CreateOrder", create(lines=[line(), line("")]), "lines[1].sku"),
    ("CreateOrder", create(lines=[line(), line(LONG)]), "lines[1].sku"),
    ("CreateOrder", create(lines=[line(), line(quantity=0)]), "lines[1].quantity"),
    ("CreateOrder", create(lines=[line(), line(quantity=-1)]), "lines[1].quantity"),
    ("CreateOrder", create(lines=[line(), line(quantity=2**31)]), "lines[1].quantity"),
    ("CreateOrder", create(recipient=None), "recipient"),
    ("CreateOrder", create(recipient=to(name="")), "recipient.name"),
    ("CreateOrder", create(recipient=to(name="茶" * 201)), "recipient.name"),
    ("CreateOrder", create(recipient=to(mobile="")), "recipient.mobile"),
    ("CreateOrder", create(recipient=to(mobile="1" * 33)), "recipient.mobile"),
    ("CreateOrder", create(recipient=to(address="")), "recipient.address"),
    ("CreateOrder", create(recipient=to(address="茶" * 501)), "recipient.address"),
    ("CreateOrder", create(note="茶" * 501), "note"),
    ("CreateOrder", create(expected_total_cents=-1), "expected_total_cents"),
]

READS: list[Case] = [
    ("GetOrder", pb.GetOrderRequest(order_sn="o"), "user_id"),
    ("GetOrder", pb.GetOrderRequest(user_id=1), "order_sn"),
    ("GetOrder", pb.GetOrderRequest(user_id=1, order_sn=LONG), "order_sn"),
    ("ListOrders", pb.ListOrdersRequest(), "user_id"),
    ("ListOrders", pb.ListOrdersRequest(user_id=1, state=7), "state"),  # type: ignore[arg-type]
    ("ListOrders", pb.ListOrdersRequest(user_id=1, page_size=-1), "page_size"),
    ("ListOrders", pb.ListOrdersRequest(user_id=1, page_size=1001), "page_size"),
    ("ListOrders", pb.ListOrdersRequest(user_id=1, page_token=LONG_TOKEN), "page_token"),
    ("ListOrders", pb.ListOrdersRequest(user_id=1, page_token="page 2"), "page_token"),
    ("ListPayments", pb.ListPaymentsRequest(outcome=4), "outcome"),  # type: ignore[arg-type]
    ("ListPayments", pb.ListPaymentsRequest(order_sn=LONG), "order_sn"),
    ("ListPayments", pb.ListPaymentsRequest(page_size=-1), "page_size"),
    ("ListPayments", pb.ListPaymentsRequest(page_size=1001), "page_size"),
    ("ListPayments", pb.ListPaymentsRequest(page_token=LONG_TOKEN), "page_token"),
    ("ListPayments", pb.ListPaymentsRequest(page_token="page 2"), "page_token"),
    ("GetOrderTimeline", pb.GetOrderTimelineRequest(), "order_sn"),
    ("GetOrderTimeline", pb.GetOrderTimelineRequest(order_sn=LONG), "order_sn"),
    ("GetOrderTimeline", pb.GetOrderTimelineRequest(order_sn="o", page_size=-1), "page_size"),
    ("GetOrderTimeline", pb.GetOrderTimelineRequest(order_sn="o", page_size=1001), "page_size"),
    ("GetOrderTimeline", pb.GetOrderTimelineRequest(order_sn="o", page_token=LONG_TOKEN), "page_token"),
    ("GetOrderTimeline", pb.GetOrderTimelineRequest(order_sn="o", page_token="page 2"), "page_token"),
]

MOVES: list[Case] = [
    ("PayOrder", pay(order_sn=""), "order_sn"),
    ("PayOrder", pay(order_sn=LONG), "order_sn"),
    ("PayOrder", pay(payment_id=""), "payment_id"),
    ("PayOrder", pay(payment_id=LONG), "payment_id"),
    ("PayOrder", pay(amount_cents=-1), "amount_cents"),
    ("PayOrder", pay(currency=""), "currency"),
    ("PayOrder", pay(currency="eur"), "currency"),
    ("PayOrder", pay(pay_type="茶" * 33), "pay_type"),
    ("PayOrder", pay(paid_time=None), "paid_time"),
    ("PayOrder", pay(paid_time=Timestamp()), "paid_time"),
    ("PayOrder", pay(paid_time=Timestamp(seconds=946_684_799)), "paid_time"),
    ("PayOrder", pay(paid_time=Timestamp(seconds=253_402_300_800)), "paid_time"),
    ("PayOrder", pay(paid_time=Timestamp(seconds=2**60)), "paid_time"),
    ("PayOrder", pay(paid_time=Timestamp(seconds=NOW.seconds, nanos=-1)), "paid_time"),
    ("PayOrder", pay(paid_time=Timestamp(seconds=NOW.seconds, nanos=10**9)), "paid_time"),
    ("CancelOrder", pb.CancelOrderRequest(order_sn="o"), "user_id"),
    ("CancelOrder", pb.CancelOrderRequest(user_id=1), "order_sn"),
    ("CancelOrder", pb.CancelOrderRequest(user_id=1, order_sn=LONG), "order_sn"),
    ("CancelOrder", pb.CancelOrderRequest(user_id=1, order_sn="o", reason="茶" * 201), "reason"),
    ("RefundOrder", pb.RefundOrderRequest(), "order_sn"),
    ("RefundOrder", pb.RefundOrderRequest(order_sn=LONG), "order_sn"),
    ("RefundOrder", pb.RefundOrderRequest(order_sn="o", reason="茶" * 201), "reason"),
    ("FinishOrder", pb.FinishOrderRequest(), "order_sn"),
    ("FinishOrder", pb.FinishOrderRequest(order_sn=LONG), "order_sn"),
    ("MarkRefunded", pb.MarkRefundedRequest(refund_id="r"), "payment_id"),
    ("MarkRefunded", pb.MarkRefundedRequest(payment_id=LONG, refund_id="r"), "payment_id"),
    ("MarkRefunded", pb.MarkRefundedRequest(payment_id="p"), "refund_id"),
    ("MarkRefunded", pb.MarkRefundedRequest(payment_id="p", refund_id=LONG), "refund_id"),
]

CASES = [*GOODS, *CARTS, *CREATES, *READS, *MOVES]

RULELESS = {
    "PutGoods.goods.on_sale",
    "PutGoods.goods.create_time",  # output only
    "PutGoods.goods.update_time",
    "PutCartItem.selected",
}


@pytest.mark.parametrize(("method", "request_", "field"), CASES, ids=lambda part: part if isinstance(part, str) else "")
def test_a_field_that_breaks_its_rule_is_named_and_nothing_happens(
    services: Services, method: str, request_: Any, field: str
) -> None:
    before = contents(services)

    error = rpc_error(lambda: getattr(services.order, method)(request_))

    assert (error.code, error.reason, error.domain) == (
        grpc.StatusCode.INVALID_ARGUMENT,
        "INVALID_ARGUMENT",
        "order",
    )
    assert (error.fields, error.conditions) == ([field], None)
    assert field in error.message or field == "page_token"
    assert contents(services) == before


def fields_of(message: Descriptor, path: str) -> set[str]:
    """Every field that a caller can fill in, by its path."""
    found = set()
    for field in message.fields:
        here = f"{path}.{field.name}"
        found.add(here)
        if field.message_type is not None and field.message_type.full_name.startswith("reback."):
            found |= fields_of(field.message_type, here)
    return found


def test_every_field_of_every_request_is_tried() -> None:
    methods = pb.DESCRIPTOR.services_by_name["OrderService"].methods
    all_fields = {field for method in methods for field in fields_of(method.input_type, method.name)}
    tried = {f"{method}.{field}".replace("[0]", "").replace("[1]", "") for method, _, field in CASES}
    assert all_fields - tried == RULELESS


def test_every_bad_field_of_a_request_is_named(services: Services) -> None:
    request = create(
        user_id=0, request_id="", lines=[line(""), line(quantity=0)], recipient=to(name=""), note="x" * 501
    )
    error = rpc_error(lambda: services.order.CreateOrder(request))
    assert error.fields is not None
    assert sorted(error.fields) == [
        "lines[0].sku",
        "lines[1].quantity",
        "note",
        "recipient.name",
        "request_id",
        "user_id",
    ]


def test_what_is_just_within_the_rules_is_taken(services: Services) -> None:
    services.order.PutGoods(goods(sku="茶" * 64, name="茶" * 200, image_url="x" * 2000, price_cents=10**11))
    services.order.PutGoods(goods(sku="x", name="x", price_cents=0))
    services.order.PutCartItem(item(sku="x", quantity=2**31 - 1, user_id=2**63 - 1))
    earliest, latest = Timestamp(seconds=946_684_800), Timestamp(seconds=253_402_300_799)
    user, sku = services.new_user(), services.new_sku(2, 1)
    for paid_time in (earliest, latest):
        order = services.create(user, {sku: 1})
        assert services.pay(order, paid_time=paid_time, pay_type="").order.pay_time == paid_time
