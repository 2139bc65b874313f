"""Every case of the contract's error table that the order service has, over real gRPC; and that nothing changes.

What breaks a field's rule is in `test_bad_input.py`.
"""

from collections.abc import Callable
from typing import Any

import grpc
import pytest

from reback.inventory.v1 import inventory_pb2 as stock_pb
from reback.order.v1 import order_pb2 as pb
from tests.component.order import resting_orders
from tests.component.order.carts import put
from tests.component.order.contents import contents
from tests.support.rpc_errors import RpcFailure, rpc_error
from tests.support.services import Services, create_request

Code = grpc.StatusCode
Condition = tuple[str, str, str]
Call = Callable[[], Any]
Expected = tuple[grpc.StatusCode, str, dict[str, str], list[Condition] | None]
Case = Callable[[Services], tuple[Call, Expected]]

NOBODYS = "nobody's"

WRITTEN_BY_A_FAILED_ORDER = ("orders", "order_line", "order_event", "sqlite_sequence")


def assert_told(error: RpcFailure, expected: Expected) -> None:
    code, reason, metadata, conditions = expected
    assert (error.code, error.reason, error.domain) == (code, reason, "order")
    assert error.metadata == metadata
    assert (sorted(error.conditions) if error.conditions else error.conditions) == conditions
    assert error.fields is None
    assert error.message


# Not found


def not_found(what: str, metadata: dict[str, str]) -> Expected:
    return Code.NOT_FOUND, f"{what}_NOT_FOUND", metadata, None


def missing_skus(*skus: str) -> Expected:
    return Code.NOT_FOUND, "SKU_NOT_FOUND", {}, [("SKU_NOT_FOUND", sku, "not in the price book") for sku in skus]


NO_ORDER = not_found("ORDER", {"order_sn": NOBODYS})


def get_no_order(services: Services) -> tuple[Call, Expected]:
    return lambda: services.order.GetOrder(pb.GetOrderRequest(user_id=1, order_sn=NOBODYS)), NO_ORDER


def get_another_users_order(services: Services) -> tuple[Call, Expected]:
    order = resting_orders.unpaid(services)
    request = pb.GetOrderRequest(user_id=services.new_user(), order_sn=order.order_sn)
    return lambda: services.order.GetOrder(request), not_found("ORDER", {"order_sn": order.order_sn})


def cancel_no_order(services: Services) -> tuple[Call, Expected]:
    return lambda: resting_orders.cancel(services, pb.Order(user_id=1, order_sn=NOBODYS)), NO_ORDER


def cancel_another_users_order(services: Services) -> tuple[Call, Expected]:
    order = resting_orders.unpaid(services)
    request = pb.CancelOrderRequest(user_id=services.new_user(), order_sn=order.order_sn)
    return lambda: services.order.CancelOrder(request), not_found("ORDER", {"order_sn": order.order_sn})


def refund_no_order(services: Services) -> tuple[Call, Expected]:
    return lambda: resting_orders.refund(services, pb.Order(order_sn=NOBODYS)), NO_ORDER


def finish_no_order(services: Services) -> tuple[Call, Expected]:
    return lambda: resting_orders.finish(services, pb.Order(order_sn=NOBODYS)), NO_ORDER


def timeline_of_no_order(services: Services) -> tuple[Call, Expected]:
    return lambda: services.order.GetOrderTimeline(pb.GetOrderTimelineRequest(order_sn=NOBODYS)), NO_ORDER


def pay_no_order(services: Services) -> tuple[Call, Expected]:
    order = resting_orders.unpaid(services)
    nobodys = pb.Order(order_sn=NOBODYS, total_cents=1, currency="EUR", create_time=order.create_time)
    return lambda: services.pay(nobodys), NO_ORDER


def mark_no_payment(services: Services) -> tuple[Call, Expected]:
    request = pb.MarkRefundedRequest(payment_id=NOBODYS, refund_id="r")
    return lambda: services.order.MarkRefunded(request), not_found("PAYMENT", {"payment_id": NOBODYS})


def get_no_goods(services: Services) -> tuple[Call, Expected]:
    request = pb.BatchGetGoodsRequest(skus=["no2", services.new_sku(), "no1"])
    return lambda: services.order.BatchGetGoods(request), missing_skus("no1", "no2")


def put_no_goods_into_a_cart(services: Services) -> tuple[Call, Expected]:
    return lambda: put(services, 1, "no1", 1), missing_skus("no1")


# Too little stock, unknown to inventory: an order fails, and nothing else changes


def too_little_stock(services: Services) -> tuple[Call, Expected]:
    user = services.new_user()
    enough, short, empty = services.new_sku(9), *sorted([services.new_sku(1), services.new_sku(1)])
    first = {"sku": short, "asked": "2", "available": "1"}
    conditions = [("NO_STOCK", sku, "asked 2, available 1") for sku in (short, empty)]
    call = create_call(services, user, {enough: 9, short: 2, empty: 2})
    return call, (Code.FAILED_PRECONDITION, "NO_STOCK", first, conditions)


def unknown_to_inventory(services: Services) -> tuple[Call, Expected]:
    user, unknown = services.new_user(), sorted([services.new_sku(None), services.new_sku(None)])
    conditions = [("SKU_NOT_FOUND", sku, "unknown sku") for sku in unknown]
    call = create_call(services, user, dict.fromkeys(unknown, 1))
    return call, (Code.NOT_FOUND, "SKU_NOT_FOUND", {"sku": unknown[0]}, conditions)


def create_call(services: Services, user: int, lines: dict[str, int], **more: Any) -> Call:
    request = create_request(user, lines, **more)
    return lambda: services.order.CreateOrder(request)


# The goods do not allow it


def precondition(reason: str, metadata: dict[str, str], conditions: list[Condition] | None = None) -> Expected:
    return Code.FAILED_PRECONDITION, reason, metadata, conditions


def off_sale_and_without_a_price(services: Services) -> tuple[Call, Expected]:
    user, off, unpriced = services.new_user(), services.new_sku(5, on_sale=False), services.new_sku(5, None)
    conditions = sorted([("GOODS_UNAVAILABLE", off, "off sale"), ("GOODS_UNAVAILABLE", unpriced, "without a price")])
    call = create_call(services, user, {off: 1, unpriced: 1, services.new_sku(): 1})
    return call, precondition("GOODS_UNAVAILABLE", {}, conditions)


def two_currencies(services: Services) -> tuple[Call, Expected]:
    user, euro, yen = services.new_user(), services.new_sku(), services.new_sku(currency="JPY")
    conditions = sorted([("MIXED_CURRENCIES", euro, "is sold in EUR"), ("MIXED_CURRENCIES", yen, "is sold in JPY")])
    call = create_call(services, user, {euro: 1, yen: 1})
    return call, precondition("MIXED_CURRENCIES", {"currencies": "EUR,JPY"}, conditions)


def another_total(services: Services) -> tuple[Call, Expected]:
    user, sku = services.new_user(), services.new_sku(5, 100)
    metadata = {"total_cents": "200", "expected_total_cents": "199"}
    condition = ("PRICE_CHANGED", "expected_total_cents", "the total is 200")
    call = create_call(services, user, {sku: 2}, expected_total_cents=199)
    return call, precondition("PRICE_CHANGED", metadata, [condition])


def too_large_a_total(services: Services) -> tuple[Call, Expected]:
    user, sku = services.new_user(), services.new_sku(5, 10**11)
    metadata = {"total_cents": str(10**11 * 90_072), "limit_cents": "9007199254740991"}
    condition = ("TOTAL_TOO_LARGE", "total_cents", "must be at most 9007199254740991")
    return create_call(services, user, {sku: 90_072}), precondition("TOTAL_TOO_LARGE", metadata, [condition])


def nothing_selected(services: Services) -> tuple[Call, Expected]:
    user = services.new_user()
    put(services, user, services.new_sku(), 1, selected=False)
    return create_call(services, user, {}), precondition("NOTHING_SELECTED", {})


def too_much_selected(services: Services) -> tuple[Call, Expected]:
    user = services.new_user()
    for _ in range(101):
        put(services, user, services.new_sku(None), 1)
    return create_call(services, user, {}), precondition("TOO_MANY_LINES", {})


# The state does not allow it


def forbidden(order: pb.Order, state: str) -> Expected:
    condition = (f"ORDER_{state}", order.order_sn, f"the order is {state}")
    return precondition(f"ORDER_{state}", {"order_sn": order.order_sn, "state": state}, [condition])


def in_state(state: str, move: Callable[[Services, pb.Order], pb.Order]) -> Case:
    def case(services: Services) -> tuple[Call, Expected]:
        order = resting_orders.AT_REST[state](services)
        if state == "CLOSED":
            services.wait_for_step(order.order_sn, "STOCK_RETURNED")  # else that may change while the test looks
        return lambda: move(services, order), forbidden(order, state)

    return case


def mark_what_pays_its_order(services: Services) -> tuple[Call, Expected]:
    order = resting_orders.paid(services)
    payment_id = order.payments[0].payment_id
    condition = ("PAYMENT_APPLIED", payment_id, "the payment pays its order")
    request = pb.MarkRefundedRequest(payment_id=payment_id, refund_id="r")
    metadata = {"payment_id": payment_id, "order_sn": order.order_sn}
    return lambda: services.order.MarkRefunded(request), precondition("PAYMENT_APPLIED", metadata, [condition])


# Different content


def different(field: str, value: str) -> Expected:
    return Code.ALREADY_EXISTS, "DIFFERENT_CONTENT", {field: value}, None


def another_order_by_the_same_request(services: Services) -> tuple[Call, Expected]:
    user, sku = services.new_user(), services.new_sku()
    services.create(user, {sku: 1}, request_id="mine")
    return create_call(services, user, {sku: 2}, request_id="mine"), different("request_id", "mine")


def other_money_by_the_same_payment(services: Services) -> tuple[Call, Expected]:
    order = resting_orders.paid(services)
    payment_id = order.payments[0].payment_id
    call = lambda: services.pay(order, payment_id=payment_id, amount_cents=1)  # noqa: E731
    return call, different("payment_id", payment_id)


def another_refund_of_the_same_payment(services: Services) -> tuple[Call, Expected]:
    order = resting_orders.refunded(services)
    services.wait_for_step(order.order_sn, "STOCK_RETURNED")
    payment_id = order.payments[0].payment_id
    services.order.MarkRefunded(pb.MarkRefundedRequest(payment_id=payment_id, refund_id="r1"))
    request = pb.MarkRefundedRequest(payment_id=payment_id, refund_id="r2")
    return lambda: services.order.MarkRefunded(request), different("refund_id", "r2")


CASES: dict[str, Case] = {
    "no order to get": get_no_order,
    "another user's order to get": get_another_users_order,
    "no order to cancel": cancel_no_order,
    "another user's order to cancel": cancel_another_users_order,
    "no order to refund": refund_no_order,
    "no order to finish": finish_no_order,
    "no order to tell of": timeline_of_no_order,
    "no order to pay": pay_no_order,
    "no payment to mark": mark_no_payment,
    "no goods to get": get_no_goods,
    "no goods to put into a cart": put_no_goods_into_a_cart,
    "off sale, without a price": off_sale_and_without_a_price,
    "two currencies": two_currencies,
    "another total than expected": another_total,
    "too large a total": too_large_a_total,
    "nothing selected": nothing_selected,
    "too much selected": too_much_selected,
    "a paid order to cancel": in_state("PAID", resting_orders.cancel),
    "a finished order to cancel": in_state("FINISHED", resting_orders.cancel),
    "an unpaid order to refund": in_state("UNPAID", resting_orders.refund),
    "a finished order to refund": in_state("FINISHED", resting_orders.refund),
    "a cancelled order to refund": in_state("CLOSED", resting_orders.refund),
    "a failed order to refund": in_state("FAILED", resting_orders.refund),
    "an unpaid order to finish": in_state("UNPAID", resting_orders.finish),
    "a closed order to finish": in_state("CLOSED", resting_orders.finish),
    "a failed order to finish": in_state("FAILED", resting_orders.finish),
    "a payment that pays its order to mark": mark_what_pays_its_order,
    "another order by the same request": another_order_by_the_same_request,
    "other money by the same payment": other_money_by_the_same_payment,
    "another refund of the same payment": another_refund_of_the_same_payment,
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_an_error_has_its_code_reason_and_details_and_nothing_changes(services: Services, case: Case) -> None:
    call, expected = case(services)
    before = contents(services)

    assert_told(rpc_error(call), expected)

    assert contents(services) == before


@pytest.mark.parametrize("case", [too_little_stock, unknown_to_inventory])
def test_what_inventory_refuses_is_told_in_its_words_and_changes_no_stock(services: Services, case: Case) -> None:
    call, expected = case(services)
    before = contents(services, without=WRITTEN_BY_A_FAILED_ORDER)

    assert_told(rpc_error(call), expected)

    assert contents(services, without=WRITTEN_BY_A_FAILED_ORDER) == before


def test_a_bug_is_told_as_an_id_and_never_as_its_text(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    order = resting_orders.unpaid(services)
    queries = services.order_service.use_cases.queries

    def with_a_bug(*_: Any) -> pb.Order:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr(queries, "order", with_a_bug)
    error = rpc_error(lambda: services.get(order))

    assert (error.code, error.reason, error.domain) == (Code.INTERNAL, "INTERNAL", "order")
    assert set(error.metadata) == {"error_id"}
    assert error.metadata["error_id"] in error.message
    assert "secret" not in str(error)
    monkeypatch.undo()
    assert services.get(order) == order


def test_reasons_of_inventory_come_as_the_order_services_own(services: Services) -> None:
    user, sku = services.new_user(), services.new_sku(0)
    with pytest.raises(grpc.RpcError):
        services.inventory.Sell(stock_pb.SellRequest(order_sn="s", lines=[stock_pb.SaleLine(sku=sku, quantity=1)]))
    assert rpc_error(lambda: services.create(user, {sku: 1})).domain == "order"
