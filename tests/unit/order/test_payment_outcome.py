from datetime import UTC, datetime, timedelta

import pytest

from order_srv.domain.order_state import State
from order_srv.domain.payment import Outcome, Payment, RefundReason, outcome_of_payment

NOW = datetime(2026, 1, 1, tzinfo=UTC)
TOTAL = 1_250
DUE = (TOTAL, "EUR")
APPLIED = (Outcome.APPLIED, None)


def refund_due(reason: RefundReason) -> tuple[Outcome, RefundReason]:
    return Outcome.REFUND_DUE, reason


@pytest.mark.parametrize(
    ("state", "amount", "currency", "wanted"),
    [
        (State.UNPAID, TOTAL, "EUR", APPLIED),
        (State.UNPAID, TOTAL - 1, "EUR", refund_due(RefundReason.WRONG_AMOUNT)),
        (State.UNPAID, TOTAL + 1, "EUR", refund_due(RefundReason.WRONG_AMOUNT)),
        (State.UNPAID, 0, "EUR", refund_due(RefundReason.WRONG_AMOUNT)),
        (State.UNPAID, TOTAL, "USD", refund_due(RefundReason.WRONG_AMOUNT)),
        (State.PAID, TOTAL, "EUR", refund_due(RefundReason.ALREADY_PAID)),
        (State.PAID, TOTAL - 1, "USD", refund_due(RefundReason.ALREADY_PAID)),
        (State.FINISHED, TOTAL, "EUR", refund_due(RefundReason.ALREADY_PAID)),
        (State.CLOSED, TOTAL, "EUR", refund_due(RefundReason.CLOSED)),
        (State.CLOSED, TOTAL + 1, "EUR", refund_due(RefundReason.CLOSED)),
        (State.FAILED, TOTAL, "EUR", refund_due(RefundReason.FAILED)),
    ],
)
def test_what_becomes_of_a_payment(
    state: State, amount: int, currency: str, wanted: tuple[Outcome, RefundReason | None]
) -> None:
    assert outcome_of_payment(state, due=DUE, paid=(amount, currency)) == wanted


def test_an_order_that_is_being_created_takes_no_payment() -> None:
    with pytest.raises(AssertionError, match="being created"):
        outcome_of_payment(State.CREATING, due=DUE, paid=DUE)


def test_the_same_money_is_told_by_what_the_payer_said_of_it() -> None:
    def payment(**changes: object) -> Payment:
        said: dict[str, object] = {
            "payment_id": "p1",
            "order_sn": "sn",
            "amount_cents": TOTAL,
            "currency": "EUR",
            "pay_type": "card",
            "paid_time": NOW,
            "outcome": Outcome.APPLIED,
            "create_time": NOW,
        }
        return Payment(**(said | changes))  # type: ignore[arg-type]

    first = payment()
    became_something_else = payment(
        outcome=Outcome.REFUNDED,
        create_time=NOW + timedelta(hours=1),
        refund_reason=RefundReason.ORDER_REFUNDED,
        refund_id="r1",
        refund_time=NOW,
    )
    assert first.same_content(became_something_else)
    for other in (
        payment(order_sn="other"),
        payment(amount_cents=TOTAL + 1),
        payment(currency="USD"),
        payment(pay_type="cash"),
        payment(paid_time=NOW + timedelta(microseconds=1)),
    ):
        assert not first.same_content(other)
