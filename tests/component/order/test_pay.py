"""Payments over real gRPC: recorded once each, applied once an order, never dropped."""

from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from reback.order.v1 import order_pb2 as pb
from tests.component.order.resting_orders import AT_REST, cancel, cancelled, paid, refund, refunded, unpaid
from tests.support.rpc_errors import rpc_error
from tests.support.services import Services, pay_request

APPLIED, REFUND_DUE, REFUNDED = pb.PAYMENT_OUTCOME_APPLIED, pb.PAYMENT_OUTCOME_REFUND_DUE, pb.PAYMENT_OUTCOME_REFUNDED


def mark_refunded(services: Services, payment_id: str, refund_id: str = "r1") -> pb.Payment:
    return services.order.MarkRefunded(pb.MarkRefundedRequest(payment_id=payment_id, refund_id=refund_id))


def recorded(services: Services, order: pb.Order) -> list[str]:
    return [payment.payment_id for payment in services.get(order).payments]


def test_the_exact_payment_pays_its_order(services: Services) -> None:
    order = unpaid(services)
    paid_time = Timestamp(seconds=1_700_000_000, nanos=123_456_000)

    answer = services.pay(order, payment_id=f"p {order.order_sn}", pay_type="card 💳", paid_time=paid_time)

    payment = answer.payment
    assert (payment.payment_id, payment.order_sn) == (f"p {order.order_sn}", order.order_sn)
    assert (payment.amount_cents, payment.currency, payment.pay_type) == (order.total_cents, "EUR", "card 💳")
    assert (payment.paid_time, payment.outcome, payment.refund_reason) == (paid_time, APPLIED, 0)
    assert payment.create_time.ToNanoseconds() >= order.create_time.ToNanoseconds()
    assert (answer.order.state, answer.order.pay_time) == (pb.ORDER_STATE_PAID, paid_time)
    assert list(answer.order.payments) == [payment]
    assert services.get(order) == answer.order
    assert services.own_steps(order.order_sn)[-1] == "PAID"


@pytest.mark.parametrize(("difference", "currency"), [(-1, "EUR"), (1, "EUR"), (0, "USD"), (0, "ABC")])
def test_a_payment_of_something_else_is_to_be_refunded_and_the_order_waits_on(
    services: Services, difference: int, currency: str
) -> None:
    order = unpaid(services)

    answer = services.pay(order, amount_cents=order.total_cents + difference, currency=currency)

    assert (answer.payment.outcome, answer.payment.refund_reason) == (REFUND_DUE, pb.REFUND_REASON_WRONG_AMOUNT)
    assert (answer.order.state, answer.order.HasField("pay_time")) == (pb.ORDER_STATE_UNPAID, False)
    assert services.own_steps(order.order_sn)[-1] == "REFUND_DUE"
    right = services.pay(order)
    assert right.payment.outcome == APPLIED
    assert [payment.outcome for payment in right.order.payments] == [REFUND_DUE, APPLIED]


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("PAID", pb.REFUND_REASON_ALREADY_PAID),
        ("FINISHED", pb.REFUND_REASON_ALREADY_PAID),
        ("CLOSED", pb.REFUND_REASON_CLOSED),
        ("FAILED", pb.REFUND_REASON_FAILED),
    ],
)
def test_money_for_an_order_that_can_not_take_it_is_recorded_to_be_refunded(
    services: Services, state: str, reason: "pb.RefundReason.ValueType"
) -> None:
    order = AT_REST[state](services)

    answer = services.pay(order)

    assert (answer.payment.outcome, answer.payment.refund_reason) == (REFUND_DUE, reason)
    assert answer.order.state == order.state
    assert answer.payment in answer.order.payments
    assert len(answer.order.payments) == len(order.payments) + 1


def test_a_repeat_gives_the_payment_as_it_stands_now(services: Services) -> None:
    order = unpaid(services)
    request = pay_request(order)
    first = services.order.PayOrder(request)
    assert services.order.PayOrder(request) == first

    closed = refund(services, order)
    assert services.order.PayOrder(request).order == closed
    due = services.order.PayOrder(request).payment
    assert (due.outcome, due.refund_reason) == (REFUND_DUE, pb.REFUND_REASON_ORDER_REFUNDED)

    back = mark_refunded(services, request.payment_id)
    assert services.order.PayOrder(request).payment == back
    assert len(services.get(order).payments) == 1


def test_a_repeat_of_a_payment_that_came_too_late_stays_to_be_refunded(services: Services) -> None:
    order = cancelled(services)
    request = pay_request(order)
    first = services.order.PayOrder(request)
    assert services.order.PayOrder(request) == first
    assert recorded(services, order) == [request.payment_id]


@pytest.mark.parametrize(
    "other",
    [
        {"amount_cents": 1},
        {"currency": "USD"},
        {"pay_type": "cash"},
        {"paid_time": Timestamp(seconds=1_700_000_000)},
    ],
    ids=",".join,
)
def test_the_same_payment_id_with_other_content_is_refused(services: Services, other: dict[str, object]) -> None:
    order = unpaid(services)
    payment = services.pay(order).payment
    before = services.get(order)

    error = rpc_error(lambda: services.pay(order, payment_id=payment.payment_id, **other))

    assert (error.code, error.reason) == (grpc.StatusCode.ALREADY_EXISTS, "DIFFERENT_CONTENT")
    assert error.metadata == {"payment_id": payment.payment_id}
    assert services.get(order) == before


def test_the_payment_of_one_order_is_none_of_another(services: Services) -> None:
    one, other = unpaid(services), unpaid(services)
    payment = services.pay(one).payment
    assert rpc_error(lambda: services.pay(other, payment_id=payment.payment_id)).reason == "DIFFERENT_CONTENT"
    assert services.get(other) == other


def test_money_for_an_order_that_nobody_knows_is_refused(services: Services) -> None:
    nobody = pb.Order(order_sn="nobody's", total_cents=1, currency="EUR", create_time=Timestamp(seconds=1_700_000_000))
    error = rpc_error(lambda: services.pay(nobody, payment_id="of nobody"))
    assert (error.reason, error.metadata) == ("ORDER_NOT_FOUND", {"order_sn": "nobody's"})
    assert rpc_error(lambda: mark_refunded(services, "of nobody")).reason == "PAYMENT_NOT_FOUND"


def test_one_payment_that_many_tell_of_is_recorded_once(services: Services, callers: ThreadPoolExecutor) -> None:
    order = unpaid(services)
    request = pay_request(order)

    answers = list(callers.map(services.order.PayOrder, [request] * 20))

    assert all(answer.payment == answers[0].payment for answer in answers)
    assert answers[0].payment.outcome == APPLIED
    assert recorded(services, order) == [request.payment_id]


def test_one_of_many_payments_is_applied_and_the_others_are_to_be_refunded(
    services: Services, callers: ThreadPoolExecutor
) -> None:
    order = unpaid(services)
    requests = [pay_request(order) for _ in range(20)]

    payments = [answer.payment for answer in callers.map(services.order.PayOrder, requests)]

    reasons = sorted(payment.refund_reason for payment in payments)
    assert reasons == [0] + [pb.REFUND_REASON_ALREADY_PAID] * 19
    assert sum(payment.outcome == APPLIED for payment in payments) == 1
    assert sorted(recorded(services, order)) == sorted(request.payment_id for request in requests)


def test_a_refund_that_was_sent_is_noted_once(services: Services) -> None:
    order = refunded(services)
    due = order.payments[0]

    sent = mark_refunded(services, due.payment_id, "r 💶")

    assert (sent.outcome, sent.refund_reason, sent.refund_id) == (REFUNDED, pb.REFUND_REASON_ORDER_REFUNDED, "r 💶")
    assert sent.refund_time.seconds > 0
    assert mark_refunded(services, due.payment_id, "r 💶") == sent
    assert list(services.get(order).payments) == [sent]
    assert services.steps(order.order_sn).count("REFUNDED") == 1


def test_another_refund_of_the_same_payment_is_refused(services: Services) -> None:
    payment_id = refunded(services).payments[0].payment_id
    sent = mark_refunded(services, payment_id, "r1")

    error = rpc_error(lambda: mark_refunded(services, payment_id, "r2"))

    assert (error.code, error.reason) == (grpc.StatusCode.ALREADY_EXISTS, "DIFFERENT_CONTENT")
    assert error.metadata == {"refund_id": "r2"}
    assert mark_refunded(services, payment_id, "r1") == sent


def test_the_payment_that_pays_its_order_can_not_be_noted_as_sent_back(services: Services) -> None:
    order = paid(services)
    payment_id = order.payments[0].payment_id

    error = rpc_error(lambda: mark_refunded(services, payment_id))

    assert (error.code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "PAYMENT_APPLIED")
    assert error.metadata == {"payment_id": payment_id, "order_sn": order.order_sn}
    assert error.conditions == [("PAYMENT_APPLIED", payment_id, "the payment pays its order")]
    assert services.get(order) == order


def test_a_payment_that_could_never_be_applied_survives_the_refund_of_its_order(services: Services) -> None:
    order = paid(services)
    second = services.pay(order).payment

    closed = refund(services, order)

    assert [payment.refund_reason for payment in closed.payments] == [
        pb.REFUND_REASON_ORDER_REFUNDED,
        pb.REFUND_REASON_ALREADY_PAID,
    ]
    assert closed.payments[1] == second


def test_a_payment_and_a_cancel_have_one_winner(services: Services, callers: ThreadPoolExecutor) -> None:
    for _ in range(10):
        order = unpaid(services)
        paying = callers.submit(services.pay, order)
        cancelling = callers.submit(cancel, services, order)
        answer = paying.result()
        if answer.payment.outcome == APPLIED:
            error = rpc_error(cancelling.result)
            assert (error.reason, services.get(order).state) == ("ORDER_PAID", pb.ORDER_STATE_PAID)
        else:
            assert cancelling.result().state == services.get(order).state == pb.ORDER_STATE_CLOSED
            assert answer.payment.refund_reason == pb.REFUND_REASON_CLOSED
