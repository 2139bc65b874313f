"""What both databases say, read past the services: plain SQL, one look at a time."""

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from common.database.sqlite import SqliteUrl
from order_srv.domain.order_state import CloseCause, State
from order_srv.domain.payment import Outcome, RefundReason
from tests.component.order_life.environment import Urls
from tests.support.databases import connect

Lines = dict[str, int]
"""Units by sku."""


@dataclass(frozen=True)
class OrderBook:
    """An order's row and lines; times in microseconds since 1970."""

    order_sn: str
    user_id: int
    request_id: str | None
    state: State
    total_cents: int
    currency: str
    note: str
    create_time: int
    expire_time: int
    close_time: int | None
    close_cause: CloseCause | None
    failure_reason: str
    return_due: int | None
    return_tries: int
    lines: Lines


@dataclass(frozen=True)
class PaymentBook:
    payment_id: str
    order_sn: str
    amount_cents: int
    currency: str
    outcome: Outcome
    refund_reason: RefundReason | None


@dataclass(frozen=True)
class SaleBook:
    """Inventory's record of an order's sell; a tombstone has no lines."""

    returned: bool
    lines: Lines


@dataclass(frozen=True)
class Books:
    """Everything by its key; stocks as (available, sold), carts by (user_id, sku)."""

    orders: dict[str, OrderBook]
    payments: dict[str, PaymentBook]
    stocks: dict[str, tuple[int, int]]
    sales: dict[str, SaleBook]
    carts: dict[tuple[int, str], int]


class _Eyes:
    """A connection of its own to a database; each statement sees what is committed by then."""

    def __init__(self, url: str) -> None:
        in_a_file = url.startswith("sqlite:")
        self.connection: Any = (
            sqlite3.connect(SqliteUrl.parse(url).path, isolation_level=None) if in_a_file else connect(url)
        )

    def execute(self, statement: str) -> Iterator[Any]:
        cursor = self.connection.cursor()
        cursor.execute(statement)
        return iter(cursor.fetchall())


class Reader:
    """Reads the books of both databases."""

    def __init__(self, urls: Urls) -> None:
        self._order = _Eyes(urls.order)
        self._inventory = _Eyes(urls.inventory)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._order.connection.close()
        self._inventory.connection.close()

    def read(self) -> Books:
        return Books(
            orders=self.orders(),
            payments=dict(self._payments()),
            stocks={sku: (available, sold) for sku, available, sold in self._stocks()},
            sales=dict(self._sales()),
            carts={(user_id, sku): quantity for user_id, sku, quantity in self._carts()},
        )

    def orders(self) -> dict[str, OrderBook]:
        """Orders by their numbers, in the order of these."""
        lines = _by_order(self._order.execute("SELECT order_sn, sku, quantity FROM order_line"))
        rows = self._order.execute(
            "SELECT order_sn, user_id, request_id, state, total_cents, currency, note, add_time, expire_time,"
            " close_time, close_cause, failure_reason, return_due, return_tries FROM orders ORDER BY order_sn"
        )
        return {row[0]: _order(*row, lines=lines.get(row[0], {})) for row in rows}

    def _payments(self) -> Iterator[tuple[str, PaymentBook]]:
        for payment_id, order_sn, amount, currency, outcome, reason in self._order.execute(
            "SELECT payment_id, order_sn, amount_cents, currency, outcome, refund_reason FROM payment"
        ):
            refund_reason = RefundReason(reason) if reason else None
            yield payment_id, PaymentBook(payment_id, order_sn, amount, currency, Outcome(outcome), refund_reason)

    def _sales(self) -> Iterator[tuple[str, SaleBook]]:
        lines = _by_order(self._inventory.execute("SELECT order_sn, sku, quantity FROM sale_line"))
        for order_sn, state in self._inventory.execute("SELECT order_sn, state FROM sale"):
            yield order_sn, SaleBook(state == "RETURNED", lines.get(order_sn, {}))

    def _stocks(self) -> Iterator[Any]:
        return self._inventory.execute("SELECT sku, available, sold FROM stock")

    def _carts(self) -> Iterator[Any]:
        return self._order.execute("SELECT user_id, sku, quantity FROM cart_item")


def _order(order_sn: str, user_id: int, request_id: str | None, state: str, *more: Any, lines: Lines) -> OrderBook:
    total, currency, note, created, expire, close, cause, failure, due, tries = more
    cause = CloseCause(cause) if cause else None
    return OrderBook(
        *(order_sn, user_id, request_id, State(state), total, currency, note, created, expire, close, cause),
        *(failure, due, tries, lines),
    )


def _by_order(rows: Iterator[Any]) -> dict[str, Lines]:
    lines: dict[str, Lines] = {}
    for order_sn, sku, quantity in rows:
        lines.setdefault(order_sn, {})[sku] = quantity
    return lines
