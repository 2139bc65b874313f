"""Cancel, refund and finish over real gRPC, in every state in which an order can rest."""

import grpc
import pytest

from reback.inventory.v1 import inventory_pb2 as stock_pb
from reback.order.v1 import order_pb2 as pb
from tests.component.order.resting_orders import (
    AT_REST,
    Make,
    cancel,
    cancelled,
    failed,
    finish,
    finished,
    paid,
    refund,
    refunded,
    unpaid,
)
from tests.support.rpc_errors import RpcFailure, rpc_error
from tests.support.services import Services


def sale_of(services: Services, order: pb.Order) -> stock_pb.Sale:
    return services.inventory.GetSale(stock_pb.GetSaleRequest(order_sn=order.order_sn))


def assert_stock_went_back(services: Services, order: pb.Order) -> None:
    services.wait_for_step(order.order_sn, "STOCK_RETURNED")
    assert sale_of(services, order).state == stock_pb.SALE_STATE_RETURNED
    assert [services.stock(line.sku).sold for line in order.lines] == [0] * len(order.lines)


def assert_forbidden(error: RpcFailure, order: pb.Order, state: str) -> None:
    assert error.code is grpc.StatusCode.FAILED_PRECONDITION
    assert (error.reason, error.domain) == (f"ORDER_{state}", "order")
    assert error.metadata == {"order_sn": order.order_sn, "state": state}
    assert error.conditions == [(f"ORDER_{state}", order.order_sn, f"the order is {state}")]


def test_a_cancelled_order_is_closed_and_its_stock_goes_back(services: Services) -> None:
    order = unpaid(services)

    closed = cancel(services, order, "changed my mind 😀")

    assert (closed.state, closed.close_cause) == (pb.ORDER_STATE_CLOSED, pb.CLOSE_CAUSE_CANCEL)
    assert closed.close_reason == "changed my mind 😀"
    assert closed.close_time.ToNanoseconds() > order.create_time.ToNanoseconds()
    assert list(closed.lines) == list(order.lines)
    assert services.get(order) == closed
    assert_stock_went_back(services, order)


@pytest.mark.parametrize("make", [cancelled, refunded, failed])
def test_cancelling_a_dead_order_gives_it_as_it_is(services: Services, make: Make) -> None:
    order = make(services)
    assert cancel(services, order, "again, with other words") == order


@pytest.mark.parametrize("state", ["PAID", "FINISHED"])
def test_an_order_that_was_paid_is_not_cancelled(services: Services, state: str) -> None:
    order = AT_REST[state](services)
    assert_forbidden(rpc_error(lambda: cancel(services, order)), order, state)
    assert services.get(order) == order
    assert sale_of(services, order).state == stock_pb.SALE_STATE_SOLD


def test_a_refunded_order_is_closed_its_payment_due_and_its_stock_back(services: Services) -> None:
    order = paid(services)

    closed = refund(services, order, "arrived broken")

    assert (closed.state, closed.close_cause) == (pb.ORDER_STATE_CLOSED, pb.CLOSE_CAUSE_REFUND)
    assert (closed.close_reason, closed.pay_time) == ("arrived broken", order.pay_time)
    (payment,) = closed.payments
    assert payment.outcome == pb.PAYMENT_OUTCOME_REFUND_DUE
    assert payment.refund_reason == pb.REFUND_REASON_ORDER_REFUNDED
    assert services.get(order) == closed
    assert_stock_went_back(services, order)


def test_refunding_again_gives_the_order_as_it_is(services: Services) -> None:
    order = refunded(services)
    assert refund(services, order, "again, with other words") == order


@pytest.mark.parametrize("state", ["UNPAID", "FINISHED", "CLOSED", "FAILED"])
def test_only_a_paid_order_is_refunded(services: Services, state: str) -> None:
    order = AT_REST[state](services)
    assert_forbidden(rpc_error(lambda: refund(services, order)), order, state)
    assert services.get(order) == order


def test_a_finished_order_keeps_its_stock_sold(services: Services) -> None:
    order = paid(services)
    done = finish(services, order)
    assert (done.state, done.pay_time) == (pb.ORDER_STATE_FINISHED, order.pay_time)
    assert services.get(order) == done
    assert sale_of(services, order).state == stock_pb.SALE_STATE_SOLD
    assert [services.stock(line.sku).sold for line in order.lines] == [line.quantity for line in order.lines]


def test_finishing_again_gives_the_order_as_it_is(services: Services) -> None:
    order = finished(services)
    assert finish(services, order) == order
    assert services.steps(order.order_sn).count("FINISHED") == 1


@pytest.mark.parametrize("state", ["UNPAID", "CLOSED", "FAILED"])
def test_only_a_paid_order_is_finished(services: Services, state: str) -> None:
    order = AT_REST[state](services)
    assert_forbidden(rpc_error(lambda: finish(services, order)), order, state)
    assert services.get(order) == order


def test_a_reason_may_be_as_long_as_the_contract_says(services: Services) -> None:
    reason = "😀" * 200
    assert cancel(services, unpaid(services), reason).close_reason == reason
    assert refund(services, paid(services), reason).close_reason == reason
