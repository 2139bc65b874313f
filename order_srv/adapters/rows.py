"""Rows as the values that the rules speak of."""

from collections.abc import Iterable, Sequence

from common.database import Database
from order_srv.adapters.models import GoodsRow, OrderLineRow, OrderRow, PaymentRow
from order_srv.domain.order import Line, Order, Recipient
from order_srv.domain.order_state import CloseCause, State
from order_srv.domain.payment import Outcome, Payment, RefundReason
from order_srv.domain.pricing import Goods


def load(database: Database, orders: Sequence[OrderRow]) -> list[Order]:
    """Read what belongs to these orders: two reads, however many there are."""
    if not orders:
        return []
    order_sns = [row.order_sn for row in orders]
    line, payment = OrderLineRow, PaymentRow
    lines = line.select().where(line.order_sn.in_(order_sns)).order_by(line.order_sn, line.sku)
    payments = payment.select().where(payment.order_sn.in_(order_sns)).order_by(payment.order_sn, payment.add_time)
    return to_orders(orders, database.select(lines), database.select(payments))


def to_orders(orders: Sequence[OrderRow], lines: Iterable[OrderLineRow], payments: Iterable[PaymentRow]) -> list[Order]:
    """Put rows together, in the order of `orders`; lines by sku, payments oldest first, as they were read."""
    lines_of: dict[str, list[Line]] = {}
    for line in lines:
        lines_of.setdefault(line.order_sn, []).append(Line(line.sku, line.name, line.price_cents, line.quantity))
    payments_of: dict[str, list[Payment]] = {}
    for payment in payments:
        payments_of.setdefault(payment.order_sn, []).append(to_payment(payment))
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
            payments=tuple(payments_of.get(row.order_sn, ())),
        )
        for row in orders
    ]


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
