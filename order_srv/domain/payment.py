"""Payments, and what becomes of one: does it pay its order, or does the money go back? Pure: no engine in sight."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from order_srv.domain.order_state import State

MAX_PAYMENTS: Final = 20
"""How many of its payments an order is read with; anyone may pay it again and again."""


class Outcome(StrEnum):
    """What became of a payment."""

    APPLIED = "APPLIED"
    REFUND_DUE = "REFUND_DUE"
    REFUNDED = "REFUNDED"


class RefundReason(StrEnum):
    """Why the money of a payment has to be sent back."""

    CLOSED = "CLOSED"
    FAILED = "FAILED"
    ALREADY_PAID = "ALREADY_PAID"
    WRONG_AMOUNT = "WRONG_AMOUNT"
    ORDER_REFUNDED = "ORDER_REFUNDED"


@dataclass(frozen=True, slots=True)
class PaymentNotice:
    """Money that came, by the word of whoever took it."""

    payment_id: str
    order_sn: str
    amount_cents: int
    currency: str
    pay_type: str
    paid_time: datetime


@dataclass(frozen=True, slots=True)
class Payment:
    """Money that came for an order.

    Attributes:
        paid_time: When it was made, by the payer's word.
        refund_reason: Set once the money is to go back.
        refund_id: Set once the money went back.
    """

    payment_id: str
    order_sn: str
    amount_cents: int
    currency: str
    pay_type: str
    paid_time: datetime
    outcome: Outcome
    create_time: datetime
    refund_reason: RefundReason | None = None
    refund_id: str | None = None
    refund_time: datetime | None = None

    def same_content(self, other: "Payment") -> bool:
        """Whether both tell of the same money, whatever became of it."""
        return (self.order_sn, self.amount_cents, self.currency, self.pay_type, self.paid_time) == (
            other.order_sn,
            other.amount_cents,
            other.currency,
            other.pay_type,
            other.paid_time,
        )


def outcome_of_payment(
    state: State, *, due: tuple[int, str], paid: tuple[int, str]
) -> tuple[Outcome, RefundReason | None]:
    """Decide what becomes of a payment.

    Args:
        state: The order's, not CREATING. An order that is due but not yet closed is still UNPAID.
        due: What the order costs, in minor units, and its currency.
        paid: What was paid, likewise.
    """
    match state:
        case State.UNPAID:
            return (Outcome.APPLIED, None) if paid == due else (Outcome.REFUND_DUE, RefundReason.WRONG_AMOUNT)
        case State.PAID | State.FINISHED:
            return Outcome.REFUND_DUE, RefundReason.ALREADY_PAID
        case State.CLOSED:
            return Outcome.REFUND_DUE, RefundReason.CLOSED
        case State.FAILED:
            return Outcome.REFUND_DUE, RefundReason.FAILED
        case State.CREATING:
            raise AssertionError("an order that is being created takes no payment yet")
