"""An order that is paid again and again: what it tells stays short, and all of its payments can be listed."""

from collections.abc import Iterator

import pytest

from reback.order.v1 import order_pb2 as pb
from tests.component.order.resting_orders import refund, unpaid
from tests.support.services import Services

SHOWN = 20
APPLIED, REFUND_DUE = pb.PAYMENT_OUTCOME_APPLIED, pb.PAYMENT_OUTCOME_REFUND_DUE


def pay_often(services: Services, order: pb.Order, *, before: int, after: int) -> list[pb.Payment]:
    """Pay too little so often, then the total, then the total again so often."""
    wrong = [services.pay(order, amount_cents=1).payment for _ in range(before)]
    right = services.pay(order).payment
    return [*wrong, right, *(services.pay(order).payment for _ in range(after))]


def listed(services: Services, **fields: object) -> Iterator[pb.Payment]:
    token, more = "", True
    while more:
        request = pb.ListPaymentsRequest(page_size=7, page_token=token, **fields)  # type: ignore[arg-type]
        page = services.order.ListPayments(request)
        yield from page.payments
        token = page.next_page_token
        more = bool(token)


def test_an_order_with_as_many_payments_as_it_shows_has_no_more(services: Services) -> None:
    order = unpaid(services)
    made = pay_often(services, order, before=3, after=SHOWN - 4)
    seen = services.get(order)
    assert (list(seen.payments), seen.more_payments) == (made, False)


@pytest.mark.parametrize(("before", "after"), [(SHOWN, 0), (3, SHOWN), (SHOWN, SHOWN), (0, 2 * SHOWN)])
def test_an_order_shows_its_applied_payment_and_the_newest(services: Services, before: int, after: int) -> None:
    order = unpaid(services)
    made = pay_often(services, order, before=before, after=after)
    applied = made[before]
    newest = made[-SHOWN:] if applied in made[-SHOWN:] else [applied, *made[-SHOWN + 1 :]]

    seen = services.get(order)

    assert list(seen.payments) == newest
    assert seen.more_payments
    assert seen in services.orders_of(order.user_id)
    again = services.order.PayOrder(
        pb.PayOrderRequest(
            order_sn=order.order_sn,
            payment_id=applied.payment_id,
            amount_cents=applied.amount_cents,
            currency=applied.currency,
            pay_type=applied.pay_type,
            paid_time=applied.paid_time,
        )
    )
    assert (again.order, again.payment) == (seen, applied)


def test_all_payments_of_an_order_are_listed_newest_first_in_pages(services: Services) -> None:
    order, other = unpaid(services), unpaid(services)
    made = pay_often(services, order, before=10, after=SHOWN)
    services.pay(other)

    of_order = list(listed(services, order_sn=order.order_sn))

    assert of_order == made[::-1]
    applied = list(listed(services, order_sn=order.order_sn, outcome=APPLIED))
    assert applied == [made[10]]
    due = list(listed(services, order_sn=order.order_sn, outcome=REFUND_DUE))
    assert due == [payment for payment in of_order if payment.outcome == REFUND_DUE]
    assert list(listed(services, order_sn="nobody's")) == []


def test_the_applied_payment_is_refunded_however_many_came_after_it(services: Services) -> None:
    order = unpaid(services)
    applied = pay_often(services, order, before=1, after=2 * SHOWN)[1]
    refund(services, order)
    now = next(
        payment for payment in listed(services, order_sn=order.order_sn) if payment.payment_id == applied.payment_id
    )
    assert (now.outcome, now.refund_reason) == (REFUND_DUE, pb.REFUND_REASON_ORDER_REFUNDED)
