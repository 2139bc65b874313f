"""Rows as the values that the rules speak of."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, Final

from common.database import Database, from_micros, to_micros
from order_srv.adapters.models import GoodsRow, OrderLineRow, OrderRow, PaymentRow
from order_srv.domain.order import Line, Order, Recipient
from order_srv.domain.order_state import CloseCause, State
from order_srv.domain.payment import MAX_PAYMENTS, Outcome, Payment, RefundReason
from order_srv.domain.pricing import Goods

NEW_PAYMENT: Final = (
    "payment (payment_id, order_sn, amount_cents, currency, pay_type,"
    " paid_time, outcome, refund_reason, add_time, update_time)"
)


def load(database: Database, orders: Sequence[OrderRow]) -> list[Order]:
    """Read what belongs to these orders: two reads, and one more where an order has more payments than it shows."""
    if not orders:
        return []
    order_sns = [row.order_sn for row in orders]
    line = OrderLineRow
    lines = line.select().where(line.order_sn.in_(order_sns)).order_by(line.order_sn, line.sku)
    return to_orders(orders, database.select(lines), _payments(database, order_sns))


def _payments(database: Database, order_sns: Sequence[str]) -> dict[str, list[Payment]]:
    """The payments of each order, oldest first: the newest, one more than an order may show, and the applied one."""
    newest = database.execute(_newest_payments(len(order_sns)), order_sns).fetchall()
    payments: dict[str, list[Payment]] = {}
    for row in newest:
        payment = _to_payment(row)
        payments.setdefault(payment.order_sn, []).append(payment)
    long = [order_sn for order_sn, some in payments.items() if len(some) > MAX_PAYMENTS]
    if long:
        applied = (PaymentRow.order_sn.in_(long)) & (PaymentRow.outcome == Outcome.APPLIED)
        for row in database.select(PaymentRow.select().where(applied)):
            some = payments[row.order_sn]
            if not any(payment.payment_id == row.payment_id for payment in some):
                some.append(to_payment(row))
    for some in payments.values():
        some.sort(key=lambda payment: (payment.create_time, payment.payment_id))
    return payments


@cache
def _newest_payments(orders: int) -> str:
    """Each order's in a SELECT of its own, for LIMIT then stops at its share: other forms read all that there are."""
    columns = (
        "payment_id, order_sn, amount_cents, currency, pay_type, paid_time, outcome, add_time,"
        " refund_reason, refund_id, refund_time"
    )
    newest = f"SELECT {columns} FROM payment WHERE order_sn = ? ORDER BY add_time DESC, payment_id DESC"  # noqa: S608
    return " UNION ALL ".join(f"SELECT * FROM ({newest} LIMIT {MAX_PAYMENTS + 1}) AS p{n}" for n in range(orders))  # noqa: S608


def _to_payment(row: tuple[Any, ...]) -> Payment:
    payment_id, order_sn, amount_cents, currency, pay_type, paid, outcome, added, reason, refund_id, refunded = row
    return Payment(
        payment_id,
        order_sn,
        amount_cents,
        currency,
        pay_type,
        from_micros(paid),
        Outcome(outcome),
        from_micros(added),
        RefundReason(reason) if reason else None,
        refund_id,
        None if refunded is None else from_micros(refunded),
    )


def _shown(payments: Sequence[Payment]) -> tuple[Payment, ...]:
    """The applied one always, else the newest, as many as an order shows."""
    more = len(payments) - MAX_PAYMENTS
    if more <= 0:
        return tuple(payments)
    oldest = [payment for payment in payments if payment.outcome is not Outcome.APPLIED][:more]
    return tuple(payment for payment in payments if payment not in oldest)


def to_orders(
    orders: Sequence[OrderRow], lines: Iterable[OrderLineRow], payments: Mapping[str, Sequence[Payment]]
) -> list[Order]:
    """Put rows together, in the order of `orders`; lines by sku, payments oldest first, as they were read."""
    lines_of: dict[str, list[Line]] = {}
    for line in lines:
        lines_of.setdefault(line.order_sn, []).append(Line(line.sku, line.name, line.price_cents, line.quantity))
    return [
        Order(
            order_sn=row.order_sn,
            user_id=row.user_id,
            state=State(row.state),
            lines=tuple(lines_of.get(row.order_sn, ())),
            total_cents=row.total_cents,
            currency=row.currency,
            recipient=Recipient(row.recipient_name, row.recipient_mobile, row.recipient_address),
            note=row.note,
            create_time=row.add_time,
            expire_time=row.expire_time,
            pay_time=row.pay_time,
            close_time=row.close_time,
            close_cause=CloseCause(row.close_cause) if row.close_cause else None,
            close_reason=row.close_reason,
            failure_reason=row.failure_reason,
            payments=_shown(payments.get(row.order_sn, ())),
            more_payments=len(payments.get(row.order_sn, ())) > MAX_PAYMENTS,
        )
        for row in orders
    ]


def from_payment(payment: Payment) -> tuple[Any, ...]:
    """A payment that is new, as a row of `NEW_PAYMENT`."""
    reason = payment.refund_reason.value if payment.refund_reason else None
    now = to_micros(payment.create_time)
    return (
        *(payment.payment_id, payment.order_sn, payment.amount_cents, payment.currency, payment.pay_type),
        *(to_micros(payment.paid_time), payment.outcome.value, reason, now, now),
    )


def to_payment(row: PaymentRow) -> Payment:
    return Payment(
        payment_id=row.payment_id,
        order_sn=row.order_sn,
        amount_cents=row.amount_cents,
        currency=row.currency,
        pay_type=row.pay_type,
        paid_time=row.paid_time,
        outcome=Outcome(row.outcome),
        create_time=row.add_time,
        refund_reason=RefundReason(row.refund_reason) if row.refund_reason else None,
        refund_id=row.refund_id,
        refund_time=row.refund_time,
    )


def to_goods(row: GoodsRow) -> Goods:
    return Goods(
        sku=row.sku,
        name=row.name,
        image_url=row.image_url,
        price_cents=row.price_cents,
        currency=row.currency,
        on_sale=row.on_sale,
        create_time=row.add_time,
        update_time=row.update_time,
    )
