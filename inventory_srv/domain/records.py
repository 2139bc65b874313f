"""What inventory keeps: a sku's stock, an order's sale, a line of the ledger.

Plain tuples, because a second of a hot sku makes thousands of them; times are aware, in UTC.
"""

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple


class SaleState(StrEnum):
    SOLD = "SOLD"
    """The units are the order's."""
    RETURNED = "RETURNED"
    """The units were returned, or never taken (a tombstone, without lines). Final."""


class MovementKind(StrEnum):
    SET = "SET"
    ADJUST = "ADJUST"
    SELL = "SELL"
    REBACK = "REBACK"


class Stock(NamedTuple):
    """The stock of one sku: what can still be sold, and what live orders hold."""

    sku: str
    available: int
    sold: int
    version: int
    update_time: datetime


class Line(NamedTuple):
    """So many units of one sku."""

    sku: str
    quantity: int


class Sale(NamedTuple):
    """One order's sell; `lines` by sku ascending, each sku once, none for a tombstone."""

    order_sn: str
    state: SaleState
    lines: tuple[Line, ...]
    create_time: datetime
    return_time: datetime | None
    return_reason: str


class Movement(NamedTuple):
    """One line of the ledger, before it has an id; exactly one of `order_sn` and `request_id` is not None."""

    sku: str
    kind: MovementKind
    delta: int
    available_after: int
    order_sn: str | None
    request_id: str | None
    reason: str
    create_time: datetime


class StoredMovement(NamedTuple):
    """One line of the ledger with its id, which grows with time."""

    id: int
    movement: Movement


class AnsweredRequest(NamedTuple):
    """A SetStock or AdjustStock that was carried out: what was asked, in short, and the first answer."""

    request_id: str
    content: str
    answer: Stock


class StockDifference(NamedTuple):
    """What the three books say about one sku where they differ; an absent row counts as 0."""

    sku: str
    available: int
    sold: int
    available_by_movements: int
    sold_by_movements: int
    sold_by_sales: int
