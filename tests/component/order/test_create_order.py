"""CreateOrder over real gRPC: what it answers, what it sells, what it refuses, what a repeat gives."""

from datetime import UTC, datetime

import grpc
import pytest
from ulid import ULID

from order_srv.adapters import stock_client
from reback.inventory.v1 import inventory_pb2 as stock_pb
from reback.order.v1 import order_pb2 as pb
from tests.support.rpc_errors import rpc_error
from tests.support.services import Services, create_request

LARGEST_QUANTITY = 2**31 - 1
LARGEST_PRICE = 10**11
LARGEST_TOTAL = 2**53 - 1


def request_of(user: int, lines: list[tuple[str, int]], **more: object) -> pb.CreateOrderRequest:
    request = create_request(user, {}, **more)
    request.lines.extend(pb.CreateOrderLine(sku=sku, quantity=quantity) for sku, quantity in lines)
    return request


def test_an_order_is_unpaid_and_its_stock_sold(services: Services) -> None:
    user, tea, jam = services.new_user(), services.new_sku(10, 250), services.new_sku(5, 99)
    recipient = pb.Recipient(name="Łucja 😀", mobile="+48 600", address="ul. Długa 1\nGdańsk")

    order = services.create(user, {tea: 3, jam: 5}, recipient=recipient, note="rings twice")

    assert order.state == pb.ORDER_STATE_UNPAID
    assert order.user_id == user
    assert [(line.sku, line.quantity) for line in order.lines] == sorted([(tea, 3), (jam, 5)])
    assert {line.sku: (line.name, line.price_cents) for line in order.lines} == {
        tea: (f"name of {tea}", 250),
        jam: (f"name of {jam}", 99),
    }
    assert (order.total_cents, order.currency) == (3 * 250 + 5 * 99, "EUR")
    assert (order.recipient, order.note) == (recipient, "rings twice")
    assert order.expire_time.ToDatetime() - order.create_time.ToDatetime() == services.pay_within
    for absent in ("pay_time", "close_time"):
        assert not order.HasField(absent)
    assert (order.close_cause, order.close_reason, order.failure_reason, list(order.payments)) == (0, "", "", [])
    assert services.get(order) == order
    assert [(services.stock(sku).available, services.stock(sku).sold) for sku in (tea, jam)] == [(7, 3), (0, 5)]
    sale = services.inventory.GetSale(stock_pb.GetSaleRequest(order_sn=order.order_sn))
    assert sale.state == stock_pb.SALE_STATE_SOLD
    assert {line.sku: line.quantity for line in sale.lines} == {tea: 3, jam: 5}


def test_an_order_number_sorts_by_the_time_of_its_order(services: Services) -> None:
    user, sku = services.new_user(), services.new_sku(100)
    orders = [services.create(user, {sku: 1}) for _ in range(20)]

    created = [order.create_time.ToDatetime(UTC) for order in orders]
    for order, time in zip(orders, created, strict=True):
        assert ULID.from_str(order.order_sn).datetime == at_millisecond(time)
    by_time = sorted(orders, key=lambda order: at_millisecond(order.create_time.ToDatetime(UTC)))
    assert [order.order_sn[:10] for order in by_time] == sorted(order.order_sn[:10] for order in orders)
    assert len({order.order_sn for order in orders}) == 20


def at_millisecond(time: datetime) -> datetime:
    return time.replace(microsecond=time.microsecond // 1000 * 1000)


def test_the_same_sku_in_two_lines_is_summed(services: Services) -> None:
    user, sku = services.new_user(), services.new_sku(5)
    order = services.order.CreateOrder(request_of(user, [(sku, 2), (sku, 3)]))
    assert [(line.sku, line.quantity) for line in order.lines] == [(sku, 5)]
    assert services.available(sku) == 0


def test_a_repeat_gives_the_first_order_and_sells_once(services: Services) -> None:
    user, sku = services.new_user(), services.new_sku(10)
    request = create_request(user, {sku: 2})
    first = services.order.CreateOrder(request)

    assert [services.order.CreateOrder(request) for _ in range(3)] == [first] * 3

    assert services.available(sku) == 8
    assert services.orders_of(user) == [first]


def test_a_repeat_gives_the_order_as_it_is_by_then(services: Services) -> None:
    user, sku = services.new_user(), services.new_sku(10)
    request = create_request(user, {sku: 2})
    order = services.order.CreateOrder(request)

    paid = services.pay(order).order
    assert services.order.CreateOrder(request) == paid
    finished = services.order.FinishOrder(pb.FinishOrderRequest(order_sn=order.order_sn))
    assert services.order.CreateOrder(request) == finished

    other = create_request(user, {sku: 1})
    to_cancel = services.order.CreateOrder(other)
    cancel = pb.CancelOrderRequest(user_id=user, order_sn=to_cancel.order_sn)
    assert services.order.CreateOrder(other).state == pb.ORDER_STATE_UNPAID
    closed = services.order.CancelOrder(cancel)
    assert services.order.CreateOrder(other) == closed


def test_a_repeat_is_not_priced_again(services: Services) -> None:
    user, sku = services.new_user(), services.new_sku(10, 100)
    request = create_request(user, {sku: 2}, expected_total_cents=200)
    first = services.order.CreateOrder(request)
    services.put_goods(sku, 101)
    assert services.order.CreateOrder(request) == first
    services.order.DeleteGoods(pb.DeleteGoodsRequest(sku=sku))
    assert services.order.CreateOrder(request) == first


@pytest.mark.parametrize(
    "other",
    [
        {"note": "other"},
        {"recipient": pb.Recipient(name="Bob", mobile="+44 1", address="1 Byron Street")},
        {"recipient": pb.Recipient(name="Ada", mobile="+44 2", address="1 Byron Street")},
        {"recipient": pb.Recipient(name="Ada", mobile="+44 1", address="2 Byron Street")},
        {"expected_total_cents": 500},
        {"quantity": 3},
        {"two_lines": True},
        {"from_cart": True},
    ],
    ids=",".join,
)
def test_the_same_request_id_with_other_content_is_refused(services: Services, other: dict[str, object]) -> None:
    other = dict(other)  # it is every engine's
    user, sku = services.new_user(), services.new_sku(10)
    first = services.create(user, {sku: 2}, request_id="mine")
    lines = [(sku, other.pop("quantity", 2))]
    if other.pop("two_lines", False):
        lines = [(sku, 1), (sku, 1)]
    if other.pop("from_cart", False):
        lines = []

    error = rpc_error(lambda: services.order.CreateOrder(request_of(user, lines, request_id="mine", **other)))  # type: ignore[arg-type]

    assert (error.code, error.reason) == (grpc.StatusCode.ALREADY_EXISTS, "DIFFERENT_CONTENT")
    assert error.metadata == {"request_id": "mine"}
    assert services.orders_of(user) == [first]
    assert services.available(sku) == 8


def test_a_request_id_is_its_users_own(services: Services) -> None:
    one, other, sku = services.new_user(), services.new_user(), services.new_sku(10)
    orders = [services.create(user, {sku: 1}, request_id="1") for user in (one, other)]
    assert [order.user_id for order in orders] == [one, other]
    assert services.available(sku) == 8


def test_too_little_stock_names_every_short_sku(services: Services) -> None:
    user = services.new_user()
    enough, short, empty = services.new_sku(10), services.new_sku(1), services.new_sku(0)

    error = rpc_error(lambda: services.create(user, {enough: 1, short: 2, empty: 7}))

    assert (error.code, error.reason, error.domain) == (grpc.StatusCode.FAILED_PRECONDITION, "NO_STOCK", "order")
    assert error.conditions is not None
    assert sorted(error.conditions) == sorted(
        [("NO_STOCK", short, "asked 2, available 1"), ("NO_STOCK", empty, "asked 7, available 0")]
    )
    assert [services.available(sku) for sku in (enough, short, empty)] == [10, 1, 0]


def test_a_repeat_of_what_was_refused_for_stock_buys_once_there_is_enough(services: Services) -> None:
    user, short, empty = services.new_user(), services.new_sku(1), services.new_sku(0)
    request = create_request(user, {short: 2, empty: 7})
    first = rpc_error(lambda: services.order.CreateOrder(request))
    assert rpc_error(lambda: services.order.CreateOrder(request)).conditions == first.conditions
    assert {order.failure_reason for order in services.orders_of(user)} == {"NO_STOCK"}
    services.inventory.SetStock(stock_pb.SetStockRequest(sku=short, quantity=100))
    services.inventory.SetStock(stock_pb.SetStockRequest(sku=empty, quantity=100))

    order = services.order.CreateOrder(request)

    assert order.state == pb.ORDER_STATE_UNPAID
    assert services.order.CreateOrder(request) == order
    assert (services.available(short), services.available(empty)) == (98, 93)


def test_a_request_that_was_refused_may_come_again_with_another_content(services: Services) -> None:
    user, sku = services.new_user(), services.new_sku(1)
    assert rpc_error(lambda: services.create(user, {sku: 2}, request_id="mine")).reason == "NO_STOCK"

    order = services.create(user, {sku: 1}, request_id="mine")

    assert order.state == pb.ORDER_STATE_UNPAID
    other_words = create_request(user, {sku: 2}, request_id="mine")
    assert rpc_error(lambda: services.order.CreateOrder(other_words)).reason == "DIFFERENT_CONTENT"


def test_a_sku_that_inventory_never_heard_of_is_not_found_and_so_again(services: Services) -> None:
    user, known, unknown = services.new_user(), services.new_sku(10), services.new_sku(None)
    request = create_request(user, {known: 1, unknown: 1})

    first = rpc_error(lambda: services.order.CreateOrder(request))

    assert (first.code, first.reason, first.domain) == (grpc.StatusCode.NOT_FOUND, "SKU_NOT_FOUND", "order")
    assert first.subjects == [unknown]
    assert rpc_error(lambda: services.order.CreateOrder(request)) == first
    assert [order.failure_reason for order in services.orders_of(user)] == ["SKU_NOT_FOUND"] * 2
    assert services.available(known) == 10


@pytest.fixture
def a_moment_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """A moment ago is still a moment ago on a slow machine."""
    monkeypatch.setattr(stock_client, "_SHORT_FOR_S", 60.0)


def test_a_sku_refused_a_moment_ago_is_refused_before_anything_is_written(
    services: Services, a_moment_is_long: None
) -> None:
    user, sku = services.new_user(), services.new_sku(1)
    assert rpc_error(lambda: services.create(user, {sku: 2})).reason == "NO_STOCK"
    written = len(services.orders_of(user))

    early = rpc_error(lambda: services.create(user, {sku: 3}))

    assert early.conditions == [("NO_STOCK", sku, "asked 3, available 1")]
    assert early.metadata == {"sku": sku, "asked": "3", "available": "1"}
    assert len(services.orders_of(user)) == written
    assert services.create(user, {sku: 1}).state == pb.ORDER_STATE_UNPAID


def test_an_early_refusal_is_none_for_the_same_request_later(services: Services, a_moment_is_long: None) -> None:
    user, sku = services.new_user(), services.new_sku(1)
    request = create_request(user, {sku: 3})
    rpc_error(lambda: services.create(user, {sku: 2}))
    assert rpc_error(lambda: services.order.CreateOrder(request)).reason == "NO_STOCK"

    services.inventory.SetStock(stock_pb.SetStockRequest(sku=sku, quantity=5))

    assert services.order.CreateOrder(request).state == pb.ORDER_STATE_UNPAID


def test_stock_that_came_back_is_sold_at_once(services: Services, a_moment_is_long: None) -> None:
    user, sku = services.new_user(), services.new_sku(1)
    rpc_error(lambda: services.create(user, {sku: 2}))
    services.inventory.SetStock(stock_pb.SetStockRequest(sku=sku, quantity=2))
    assert services.create(user, {sku: 2}).state == pb.ORDER_STATE_UNPAID


def test_the_largest_quantity_is_no_stock_and_no_overflow(services: Services) -> None:
    user, sku = services.new_user(), services.new_sku(10, 1)
    error = rpc_error(lambda: services.order.CreateOrder(request_of(user, [(sku, LARGEST_QUANTITY)] * 100)))
    asked = 100 * LARGEST_QUANTITY
    assert (error.reason, error.conditions) == ("NO_STOCK", [("NO_STOCK", sku, f"asked {asked}, available 10")])
    assert services.available(sku) == 10


def test_a_total_at_its_limit_can_be_ordered_and_paid(services: Services) -> None:
    user, large, small = services.new_user(), services.new_sku(10**6, LARGEST_PRICE), services.new_sku(10**9, 1)
    many, rest = divmod(LARGEST_TOTAL, LARGEST_PRICE)
    order = services.create(user, {large: many, small: 1}, expected_total_cents=many * LARGEST_PRICE + 1)
    assert rest > 1
    assert order.total_cents == many * LARGEST_PRICE + 1
    assert services.pay(order).payment.outcome == pb.PAYMENT_OUTCOME_APPLIED

    error = rpc_error(lambda: services.create(user, {large: many + 1}))
    assert error.reason == "TOTAL_TOO_LARGE"
    assert error.metadata == {
        "total_cents": str((many + 1) * LARGEST_PRICE),
        "limit_cents": str(LARGEST_TOTAL),
    }


def test_an_expected_total_of_nothing_is_not_the_same_as_none(services: Services) -> None:
    user, free, dear = services.new_user(), services.new_sku(10, 0), services.new_sku(10, 5)
    assert services.create(user, {free: 2}, expected_total_cents=0).total_cents == 0
    error = rpc_error(lambda: services.create(user, {dear: 2}, expected_total_cents=0))
    assert (error.reason, error.metadata) == ("PRICE_CHANGED", {"total_cents": "10", "expected_total_cents": "0"})


def test_an_order_for_nothing_is_paid_by_a_payment_of_nothing(services: Services) -> None:
    user, free = services.new_user(), services.new_sku(10, 0)
    order = services.create(user, {free: 2})
    assert order.state == pb.ORDER_STATE_UNPAID
    assert services.pay(order).order.state == pb.ORDER_STATE_PAID


def test_a_hundred_lines_are_one_order(services: Services) -> None:
    user = services.new_user()
    skus = sorted(services.new_sku(2, 10) for _ in range(100))
    order = services.create(user, dict.fromkeys(skus, 2))
    assert [line.sku for line in order.lines] == skus
    assert order.total_cents == 2000
    assert services.get(order) == order


def test_the_steps_of_an_order_that_is_made_and_of_one_that_is_refused(services: Services) -> None:
    user, sku = services.new_user(), services.new_sku(1)
    order = services.create(user, {sku: 1})
    assert services.own_steps(order.order_sn) == ["CREATED", "SOLD", "TIMEOUT_SET"]

    empty = services.new_sku(0)
    rpc_error(lambda: services.create(user, {empty: 1}))
    refused = services.orders_of(user)[0]
    assert services.own_steps(refused.order_sn) == ["CREATED", "FAILED"]
