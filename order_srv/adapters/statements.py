"""Every statement that writes orders and payments. They run inside a transaction that the repository opened.

What every order passes is written as text: a query builder would take longer than the engine does. A change of state is
one guarded statement: `… WHERE order_sn = ? AND state = ?`. Those that make one answer whether it
touched the row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from enum import StrEnum
from functools import cache
from itertools import chain
from typing import Any, Final

import peewee

from common.database import Database, to_micros
from common.errors import DomainError
from order_srv.adapters import rows
from order_srv.adapters.models import OrderRow, PaymentRow
from order_srv.domain import refusal_codec
from order_srv.domain.errors import DifferentContent, OrderNotFound, state_forbids
from order_srv.domain.order import Event, EventKind, Order
from order_srv.domain.order_request import RequestKey
from order_srv.domain.order_state import Closing, State
from order_srv.domain.payment import Outcome, Payment, RefundReason, outcome_of_payment

ABANDONED: Final = "ABANDONED"
"""The failure_reason of an order whose creator never came back to it."""

_NEW_ORDER: Final = (
    "orders (order_sn, user_id, request_id, request_hash, state,"
    " total_cents, currency, recipient_name, recipient_mobile, recipient_address, note,"
    " expire_time, close_reason, failure_reason, return_tries, add_time, update_time)"
)
_TAKEN: Final = "user_id, request_id"
_EARLIER: Final = "user_id, request_id, order_sn, request_hash, state, failure"
_NEW_LINE: Final = "order_line (order_sn, sku, name, price_cents, quantity)"
_NEW_EVENT: Final = "order_event (order_sn, kind, detail, add_time)"
_BOUGHT: Final = "DELETE FROM cart_item WHERE user_id = ? AND sku = ? AND quantity = ?"
_STATE: Final = "SELECT state FROM orders WHERE order_sn = ?"


class Statements:
    """Guarded moves, records and locking reads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def earlier(self, requests: Sequence[tuple[int, str]]) -> Sequence[tuple[Any, ...]]:
        """The orders of these requests (user_id, request_id), by columns as in `_EARLIER`."""
        rows: Sequence[tuple[Any, ...]] = self._database.execute(
            _of_requests(_EARLIER, len(requests)), list(chain.from_iterable(requests))
        ).fetchall()
        return rows

    def taken(self, requests: Sequence[tuple[int, str]]) -> set[tuple[int, str]]:
        """Those of these requests (user_id, request_id) that belong to an order."""
        asked = _of_requests(_TAKEN, len(requests))
        found = self._database.execute(asked, list(chain.from_iterable(requests))).fetchall()
        return {(user_id, request_id) for user_id, request_id in found}

    def insert_orders(self, orders: Sequence[tuple[Order, RequestKey]]) -> None:
        lines = [
            (order.order_sn, line.sku, line.name, line.price_cents, line.quantity)
            for order, _ in orders
            for line in order.lines
        ]
        created = [(order.order_sn, Event(EventKind.CREATED, order.create_time)) for order, _ in orders]
        inserting = self._database.inserting
        self._database.run_all(
            [
                *inserting(_NEW_ORDER, [_order_row(order, request) for order, request in orders]),
                *inserting(_NEW_LINE, lines),
                *inserting(_NEW_EVENT, _event_rows(created)),
            ]
        )

    def move_to_unpaid(self, orders: Mapping[str, Sequence[Event]], now: datetime) -> bool:
        """Move these orders, each with its steps, from CREATING to UNPAID; whether each of them was moved by this."""
        return self._move_all(orders, State.CREATING, {"state": State.UNPAID}, now)

    def close_orders(self, order_sns: Sequence[str], closing: Closing, now: datetime, return_due: datetime) -> bool:
        """Move these orders from UNPAID to CLOSED; whether each of them was moved by this."""
        step = Event(EventKind.CLOSED, now, _detail(closing))
        return self._move_all({sn: [step] for sn in order_sns}, State.UNPAID, _closed(closing, now, return_due), now)

    def leave_cart(self, order: Order) -> None:
        """Take exactly what was bought out of the cart: same sku, same quantity."""
        bought = [(order.user_id, line.sku, line.quantity) for line in order.lines]
        self._database.execute_many(_BOUGHT, bought)

    def fail_order(
        self, order_sn: str, reason: str, now: datetime, return_due: datetime, steps: Sequence[Event] = ()
    ) -> bool:
        """The order owes its stock, and its request may be made anew. `steps` are those that it took before."""
        changes = {"state": State.FAILED, "failure_reason": reason, "request_id": None, "return_due": return_due}
        return self._move(order_sn, State.CREATING, changes, [*steps, Event(EventKind.FAILED, now, reason)], now)

    def refuse_order(self, order_sn: str, refusal: DomainError, now: datetime) -> bool:
        """Inventory took nothing and never will, so the order owes nothing. A business refusal is kept for repeats."""
        changes: dict[str, Any] = {"state": State.FAILED, "failure_reason": refusal.reason}
        if refusal_codec.is_business(refusal):
            changes["failure"] = refusal_codec.dump(refusal)
        else:
            changes["request_id"] = None
        return self._move(order_sn, State.CREATING, changes, [Event(EventKind.FAILED, now, refusal.reason)], now)

    def close_order(self, order_sn: str, closing: Closing, now: datetime, return_due: datetime) -> bool:
        return self._close(order_sn, State.UNPAID, closing, now, return_due)

    def refund_order(self, order_sn: str, closing: Closing, now: datetime, return_due: datetime) -> bool:
        """Close a PAID order; the payment that was applied becomes REFUND_DUE."""
        if not self._close(order_sn, State.PAID, closing, now, return_due):
            return False
        applied = (PaymentRow.order_sn == order_sn) & (PaymentRow.outcome == Outcome.APPLIED)
        for payment in self._held(PaymentRow.select().where(applied)):
            refund = {"outcome": Outcome.REFUND_DUE, "refund_reason": RefundReason.ORDER_REFUNDED, "update_time": now}
            self._database.run(PaymentRow.update(**refund).where(PaymentRow.payment_id == payment.payment_id))
            self._note([(order_sn, Event(EventKind.REFUND_DUE, now, payment.payment_id))])
        return True

    def finish_order(self, order_sn: str, now: datetime) -> bool:
        return self._move(order_sn, State.PAID, {"state": State.FINISHED}, [Event(EventKind.FINISHED, now)], now)

    def record_payment(self, payment: Payment) -> Payment:
        """Record a payment once, with the order's move to PAID when it can be applied; a repeat gives the first."""
        earlier = self.payment(payment.payment_id)
        if earlier is not None:
            if not earlier.same_content(payment):
                raise DifferentContent("payment_id", payment.payment_id)
            return earlier
        order = self._payable(payment.order_sn)
        outcome, refund_reason = outcome_of_payment(
            State(order.state),
            due=(order.total_cents, order.currency),
            paid=(payment.amount_cents, payment.currency),
        )
        now = payment.create_time
        if outcome is Outcome.APPLIED:
            changes = {"state": State.PAID, "pay_time": payment.paid_time}
            self._move(order.order_sn, State.UNPAID, changes, [Event(EventKind.PAID, now, payment.payment_id)], now)
        else:
            self._note([(order.order_sn, Event(EventKind.REFUND_DUE, now, payment.payment_id))])
        recorded = replace(payment, outcome=outcome, refund_reason=refund_reason)
        self._insert_payment(recorded)
        return recorded

    def mark_refunded(self, payment_id: str, refund_id: str, now: datetime) -> Payment | None:
        refunded = {"outcome": Outcome.REFUNDED, "refund_id": refund_id, "refund_time": now, "update_time": now}
        due = (PaymentRow.payment_id == payment_id) & (PaymentRow.outcome == Outcome.REFUND_DUE)
        moved = self._database.run(PaymentRow.update(**refunded).where(due))
        payment = self.payment(payment_id)
        if moved and payment is not None:
            self._note([(payment.order_sn, Event(EventKind.REFUNDED, now, payment_id))])
        return payment

    def note_check_back(self, order_sn: str, detail: str, now: datetime) -> None:
        self._note([(order_sn, Event(EventKind.ASKED_BY_BROKER, now, detail))])

    def note_returned(self, order_sns: Sequence[str], now: datetime) -> None:
        """Clear what these orders owe; one that owes nothing any more is passed over."""
        owing = OrderRow.select(OrderRow.order_sn).where(OrderRow.order_sn.in_(order_sns), _owing())
        for row in self._held(owing):
            settled = OrderRow.update(return_due=None, update_time=now).where(OrderRow.order_sn == row.order_sn)
            self._database.run(settled)
            self._note([(row.order_sn, Event(EventKind.STOCK_RETURNED, now))])

    def put_off_return(self, order_sn: str, until: datetime) -> None:
        later = OrderRow.update(return_due=until, return_tries=OrderRow.return_tries + 1)
        self._database.run(later.where(OrderRow.order_sn == order_sn, _owing()))

    def locked_page(self, due: peewee.Expression, oldest: "peewee.Field[Any]", limit: int) -> list[str]:
        """The order_sns of a page of orders, held until the end of the transaction."""
        page = OrderRow.select(OrderRow.order_sn).where(due).order_by(oldest).limit(limit)
        return [row.order_sn for row in self._held(page)]

    def order(self, order_sn: str) -> OrderRow | None:
        return next(iter(self._held(OrderRow.select().where(OrderRow.order_sn == order_sn))), None)

    def state(self, order_sn: str) -> State | None:
        found = self._database.execute(_STATE + self._database.for_update, (order_sn,)).fetchone()
        return None if found is None else State(found[0])

    def payment(self, payment_id: str) -> Payment | None:
        payment = PaymentRow.select().where(PaymentRow.payment_id == payment_id)
        row = next(iter(self._held(payment)), None)
        return None if row is None else rows.to_payment(row)

    def _held(self, query: "peewee.ModelSelect[Any]") -> list[Any]:
        """Its rows as they are by now, held until the end of the transaction."""
        return self._database.select(self._database.locking(query))

    def _payable(self, order_sn: str) -> OrderRow:
        row = self.order(order_sn)
        if row is None:
            raise OrderNotFound(order_sn)
        if row.state == State.CREATING:
            raise state_forbids(order_sn, State.CREATING)
        return row

    def _insert_payment(self, payment: Payment) -> None:
        row = PaymentRow.insert(
            payment_id=payment.payment_id,
            order_sn=payment.order_sn,
            amount_cents=payment.amount_cents,
            currency=payment.currency,
            pay_type=payment.pay_type,
            paid_time=payment.paid_time,
            outcome=payment.outcome,
            refund_reason=payment.refund_reason,
            add_time=payment.create_time,
            update_time=payment.create_time,
        )
        self._database.run(row)

    def _close(self, order_sn: str, state: State, closing: Closing, now: datetime, return_due: datetime) -> bool:
        changes = _closed(closing, now, return_due)
        return self._move(order_sn, state, changes, [Event(EventKind.CLOSED, now, _detail(closing))], now)

    def _move(
        self, order_sn: str, state: State, changes: dict[str, Any], steps: Sequence[Event], now: datetime
    ) -> bool:
        return self._move_all({order_sn: steps}, state, changes, now)

    def _move_all(
        self, orders: Mapping[str, Sequence[Event]], state: State, changes: dict[str, Any], now: datetime
    ) -> bool:
        """Move orders that are in `state`, and write down their steps; whether each of them was moved by this.

        Where one was not, nobody knows which: it is then for the caller to roll back.
        """
        order_sns = sorted(orders)  # rows are always held in this order
        values = (*(_plain(value) for value in changes.values()), to_micros(now), state.value, *order_sns)
        moved = self._database.execute(_moving(len(orders), *changes), values).rowcount
        if moved == len(orders):
            self._note([(order_sn, step) for order_sn in order_sns for step in orders[order_sn]])
        return bool(moved == len(orders))

    def _note(self, steps: Sequence[tuple[str, Event]]) -> None:
        self._database.insert_many(_NEW_EVENT, _event_rows(steps))


def _event_rows(steps: Sequence[tuple[str, Event]]) -> list[tuple[str, str, str, int]]:
    return [(order_sn, step.kind.value, step.detail, to_micros(step.time)) for order_sn, step in steps]


def _order_row(order: Order, request: RequestKey) -> tuple[Any, ...]:
    now = to_micros(order.create_time)
    who = order.recipient
    return (
        *(order.order_sn, order.user_id, request.request_id, request.content_hash, order.state.value),
        *(order.total_cents, order.currency, who.name, who.mobile, who.address, order.note),
        *(to_micros(order.expire_time), "", "", 0, now, now),
    )


def _closed(closing: Closing, now: datetime, return_due: datetime) -> dict[str, Any]:
    return {
        "state": State.CLOSED,
        "close_time": now,
        "close_cause": closing.cause,
        "close_reason": closing.reason,
        "return_due": return_due,
    }


@cache
def _of_requests(columns: str, requests: int) -> str:
    each = " OR ".join(["(user_id = ? AND request_id = ?)"] * requests)
    return f"SELECT {columns} FROM orders WHERE {each}"  # noqa: S608 made of our own words


@cache
def _moving(orders: int, *columns: str) -> str:
    changes = "".join(f"{column} = ?, " for column in columns)
    these = "= ?" if orders == 1 else f"IN ({', '.join('?' * orders)})"
    return f"UPDATE orders SET {changes}update_time = ? WHERE state = ? AND order_sn {these}"  # noqa: S608 our names


def _plain(value: object) -> object:
    """A value as the engine takes it."""
    if isinstance(value, datetime):
        return to_micros(value)
    return value.value if isinstance(value, StrEnum) else value


def _detail(closing: Closing) -> str:
    return f"{closing.cause}: {closing.reason}" if closing.reason else closing.cause.value


def _owing() -> peewee.Expression:
    return OrderRow.return_due.is_null(is_null=False)
