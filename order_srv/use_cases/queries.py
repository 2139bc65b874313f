"""Reads of orders, payments and timelines, in pages by key set."""

import peewee

from common import paging
from common.database import Database, to_micros
from common.paging import Page
from order_srv.adapters import rows
from order_srv.adapters.models import OrderEventRow, OrderRow, PaymentRow
from order_srv.domain.errors import OrderNotFound
from order_srv.domain.order import Event, EventKind, Order
from order_srv.domain.order_state import State
from order_srv.domain.payment import Outcome, Payment


class Queries:
    def __init__(self, database: Database) -> None:
        self._database = database

    def order(self, user_id: int, order_sn: str) -> Order:
        """One order of a user.

        Raises:
            OrderNotFound: There is none, or it is not this user's.
        """
        with self._database.snapshot():
            here = (OrderRow.order_sn == order_sn) & (OrderRow.user_id == user_id)
            found = self._database.select(OrderRow.select().where(here))
            if not found:
                raise OrderNotFound(order_sn)
            return rows.load(self._database, found)[0]

    def orders(self, user_id: int, state: State | None, page_size: int, page_token: str) -> Page[Order]:
        """A page of a user's orders, newest first, and the token of the next one."""
        size = paging.page_size(page_size)
        before = paging.decode(page_token, str)
        page = OrderRow.select().where(OrderRow.user_id == user_id)
        if state is not None:
            page = page.where(OrderRow.state == state)
        if before is not None:
            page = page.where(OrderRow.order_sn < before[0])
        with self._database.snapshot():
            found = self._database.select(page.order_by(OrderRow.order_sn.desc()).limit(size + 1))
            orders, _ = paging.load_until_full(found, lambda some: rows.load(self._database, some), bytes_of)
        return paging.paginate(orders, size, lambda order: (order.order_sn,), bytes_of)

    def payments(self, order_sn: str, outcome: Outcome | None, page_size: int, page_token: str) -> Page[Payment]:
        """A page of payments, newest first, and the token of the next one.

        Args:
            order_sn: Only those of this order; empty: of any.
            outcome: Only those that ended so; None: all.
            page_size: How many; 0: the default.
            page_token: Of the page before; empty: the first.
        """
        size = paging.page_size(page_size)
        before = paging.decode(page_token, int, str)
        page = PaymentRow.select()
        if order_sn:
            page = page.where(PaymentRow.order_sn == order_sn)
        if outcome is not None:
            page = page.where(PaymentRow.outcome == outcome)
        if before is not None:
            time, payment_id = peewee.Value(before[0], converter=False), before[1]
            page = page.where(PaymentRow.add_time <= time)  # lets the index find the place, whatever comes after OR
            page = page.where((PaymentRow.add_time < time) | (PaymentRow.payment_id < payment_id))
        newest_first = page.order_by(PaymentRow.add_time.desc(), PaymentRow.payment_id.desc())
        with self._database.reading():
            found = self._database.select(newest_first.limit(size + 1))
        shown, token = paging.paginate(found, size, lambda row: (to_micros(row.add_time), row.payment_id))
        return Page([rows.to_payment(row) for row in shown], token)

    def timeline(self, order_sn: str, page_size: int, page_token: str) -> Page[Event]:
        """A page of the steps that an order took, oldest first, and the token of the next one.

        Raises:
            OrderNotFound: There is no such order.
        """
        size = paging.page_size(page_size)
        after = paging.decode(page_token, int)
        page = OrderEventRow.select().where(OrderEventRow.order_sn == order_sn)
        if after is not None:
            page = page.where(OrderEventRow.id > after[0])
        with self._database.reading():
            found = self._database.select(page.order_by(OrderEventRow.id).limit(size + 1))
            if not found and after is None:
                raise OrderNotFound(order_sn)  # an order has at least its first step
        shown, token = paging.paginate(found, size, lambda row: (row.id,))
        return Page([Event(EventKind(row.kind), row.add_time, row.detail) for row in shown], token)


def bytes_of(order: Order) -> int:
    """About how many bytes an order takes in an answer, rather more: its texts, and numbers, times and tags."""
    who = order.recipient
    texts = [order.order_sn, who.name, who.mobile, who.address, order.note, order.close_reason, order.failure_reason]
    for line in order.lines:
        texts += (line.sku, line.name)
    for payment in order.payments:
        texts += (payment.payment_id, payment.order_sn, payment.pay_type, payment.refund_id or "")
    return sum(len(text.encode()) for text in texts) + 32 * len(order.lines) + 120 * len(order.payments) + 200
