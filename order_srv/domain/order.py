"""An order and what belongs to it, as values."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from order_srv.domain.order_state import CloseCause, State
from order_srv.domain.payment import Payment


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
class Order:
    """One order as its row says.

    Attributes:
        lines: By sku ascending, each sku once.
        expire_time: Until when it has to be paid.
        failure_reason: A stable reason, when FAILED.
        payments: Oldest first, the applied one and the newest, at most `MAX_PAYMENTS`.
        more_payments: Whether there are more.
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
    more_payments: bool = False


@dataclass(frozen=True, slots=True)
class Event:
    """A step that an order took, when, and what a person may want to know of it."""

    kind: EventKind
    time: datetime
    detail: str = ""
