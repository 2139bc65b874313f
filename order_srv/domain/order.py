"""The rules of an order's life: its states, who may move it, and what the broker is told. Pure: no engine in sight.

The order row is the decision. Whoever moves it wins; everyone else reads it and follows.

    CREATING ──> UNPAID ──> PAID ──> FINISHED
        │           │         │
        v           v         v
      FAILED      CLOSED <────┘ (refund)
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from common.messaging.port import Resolution


class State(StrEnum):
    """Where an order is in its life."""

    CREATING = "CREATING"
    UNPAID = "UNPAID"
    PAID = "PAID"
    FINISHED = "FINISHED"
    CLOSED = "CLOSED"
    FAILED = "FAILED"


class Cause(StrEnum):
    """Why a half message `order_reback` was sent."""

    CREATE = "create"
    CLOSE = "close"
    REFUND = "refund"


class CloseCause(StrEnum):
    """What closed an order."""

    TIMEOUT = "TIMEOUT"
    CANCEL = "CANCEL"
    REFUND = "REFUND"


@dataclass(frozen=True, slots=True)
class Closing:
    """What an order is closed by, and the caller's words."""

    cause: CloseCause
    reason: str = ""


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


class EventKind(StrEnum):
    """A step that an order took."""

    CREATED = "CREATED"
    SOLD = "SOLD"
    TIMEOUT_SET = "TIMEOUT_SET"
    PAID = "PAID"
    REFUND_DUE = "REFUND_DUE"
    REFUNDED = "REFUNDED"
    FINISHED = "FINISHED"
    CLOSED = "CLOSED"
    FAILED = "FAILED"
    ASKED_BY_BROKER = "ASKED_BY_BROKER"
    STOCK_RETURNED = "STOCK_RETURNED"


@dataclass(frozen=True, slots=True)
class Line:
    """So many units of one sku, at the price of the moment."""

    sku: str
    name: str
    price_cents: int
    quantity: int


@dataclass(frozen=True, slots=True)
class Recipient:
    """Where an order goes."""

    name: str
    mobile: str
    address: str


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


@dataclass(frozen=True, slots=True)
class Order:
    """One order as its row says.

    Attributes:
        lines: By sku ascending, each sku once.
        expire_time: Until when it has to be paid.
        failure_reason: A stable reason, when FAILED.
    """

    order_sn: str
    user_id: int
    state: State
    lines: tuple[Line, ...]
    total_cents: int
    currency: str
    recipient: Recipient
    note: str
    create_time: datetime
    expire_time: datetime
    pay_time: datetime | None = None
    close_time: datetime | None = None
    close_cause: CloseCause | None = None
    close_reason: str = ""
    failure_reason: str = ""
    payments: tuple[Payment, ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """What a user asked for: its id, unique per user, and the hash of its content."""

    request_id: str
    content_hash: str


@dataclass(frozen=True, slots=True)
class Event:
    """A step that an order took, when, and what a person may want to know of it."""

    kind: EventKind
    time: datetime
    detail: str = ""


class Move(StrEnum):
    """A guarded change of state that a check-back may have to make."""

    FAIL = "fail"
    CLOSE = "close"
    REFUND = "refund"


def move_for_check_back(state: State, cause: Cause, *, past_creating_grace: bool) -> Move | None:
    """What has to be moved before the broker's question can be answered; None: nothing."""
    if state is State.CREATING and past_creating_grace:
        return Move.FAIL
    if state is State.UNPAID and cause is Cause.CLOSE:
        return Move.CLOSE  # what was asked for is finished
    if state is State.PAID and cause is Cause.REFUND:
        return Move.REFUND
    return None


def resolution(state: State | None, cause: Cause) -> Resolution:
    """What the row says about a half message, once all moves for it were tried.

    COMMIT only on a row that is dead for good: a ROLLBACK may later be followed by a COMMIT, never the reverse.

    Args:
        state: The row's state by a locking read after the move; None: it could not be read, or there is no row.
        cause: Why the half message was sent.
    """
    if state is State.FAILED or state is State.CLOSED:
        return Resolution.COMMIT
    if state is None or state is State.CREATING:
        return Resolution.UNKNOWN
    move_did_not_happen = move_for_check_back(state, cause, past_creating_grace=False) is not None
    return Resolution.UNKNOWN if move_did_not_happen else Resolution.ROLLBACK


def outcome_of_payment(order: Order, amount_cents: int, currency: str) -> tuple[Outcome, RefundReason | None]:
    """What becomes of a payment for an order that is not CREATING. Due but not yet closed counts as UNPAID."""
    match order.state:
        case State.UNPAID:
            if (amount_cents, currency) == (order.total_cents, order.currency):
                return Outcome.APPLIED, None
            return Outcome.REFUND_DUE, RefundReason.WRONG_AMOUNT
        case State.PAID | State.FINISHED:
            return Outcome.REFUND_DUE, RefundReason.ALREADY_PAID
        case State.CLOSED:
            return Outcome.REFUND_DUE, RefundReason.CLOSED
        case State.FAILED:
            return Outcome.REFUND_DUE, RefundReason.FAILED
        case State.CREATING:
            raise AssertionError("an order that is being created takes no payment yet")
