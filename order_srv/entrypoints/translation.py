"""Values of the order service as messages of its contract, and back."""

from datetime import UTC, datetime
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from common.currencies import is_currency
from common.errors import InvalidArgument, Violation
from order_srv.adapters.cart_repository import CartItem
from order_srv.domain.order import Event, Order, Recipient
from order_srv.domain.order_request import OrderRequest
from order_srv.domain.order_state import CloseCause, State
from order_srv.domain.payment import Outcome, Payment, PaymentNotice
from order_srv.domain.pricing import Goods
from reback.order.v1 import order_pb2 as pb

_NEVER: Final = datetime.fromtimestamp(0, UTC)


def time_to_proto(time: datetime | None) -> Timestamp | None:
    if time is None:
        return None
    stamp = Timestamp()
    stamp.FromDatetime(time)
    return stamp


def order_to_proto(order: Order) -> pb.Order:
    return pb.Order(
        order_sn=order.order_sn,
        user_id=order.user_id,
        state=pb.OrderState.Value(f"ORDER_STATE_{order.state}"),
        lines=[
            pb.OrderLine(sku=line.sku, name=line.name, price_cents=line.price_cents, quantity=line.quantity)
            for line in order.lines
        ],
        total_cents=order.total_cents,
        currency=order.currency,
        recipient=pb.Recipient(
            name=order.recipient.name, mobile=order.recipient.mobile, address=order.recipient.address
        ),
        note=order.note,
        create_time=time_to_proto(order.create_time),
        expire_time=time_to_proto(order.expire_time),
        pay_time=time_to_proto(order.pay_time),
        close_time=time_to_proto(order.close_time),
        close_cause=_close_cause(order.close_cause),
        close_reason=order.close_reason,
        failure_reason=order.failure_reason,
        payments=[payment_to_proto(payment) for payment in order.payments],
        more_payments=order.more_payments,
    )


def payment_to_proto(payment: Payment) -> pb.Payment:
    reason = payment.refund_reason
    return pb.Payment(
        payment_id=payment.payment_id,
        order_sn=payment.order_sn,
        amount_cents=payment.amount_cents,
        currency=payment.currency,
        pay_type=payment.pay_type,
        paid_time=time_to_proto(payment.paid_time),
        outcome=pb.PaymentOutcome.Value(f"PAYMENT_OUTCOME_{payment.outcome}"),
        refund_reason=pb.RefundReason.Value(f"REFUND_REASON_{reason}" if reason else "REFUND_REASON_UNSPECIFIED"),
        refund_id=payment.refund_id or "",
        refund_time=time_to_proto(payment.refund_time),
        create_time=time_to_proto(payment.create_time),
    )


def goods_to_proto(goods: Goods) -> pb.Goods:
    return pb.Goods(
        sku=goods.sku,
        name=goods.name,
        image_url=goods.image_url,
        price_cents=goods.price_cents,
        currency=goods.currency,
        on_sale=goods.on_sale,
        create_time=time_to_proto(goods.create_time),
        update_time=time_to_proto(goods.update_time),
    )


def cart_item_to_proto(item: CartItem) -> pb.CartItem:
    return pb.CartItem(
        user_id=item.user_id,
        sku=item.sku,
        quantity=item.quantity,
        selected=item.selected,
        update_time=time_to_proto(item.update_time),
    )


def event_to_proto(event: Event) -> pb.OrderEvent:
    return pb.OrderEvent(
        kind=pb.OrderEventKind.Value(f"ORDER_EVENT_KIND_{event.kind}"),
        time=time_to_proto(event.time),
        detail=event.detail,
    )


def goods_from_proto(goods: pb.Goods) -> Goods:
    if not is_currency(goods.currency):
        raise _invalid("goods.currency", "must be an ISO 4217 currency code, such as EUR")
    return Goods(
        sku=goods.sku,
        name=goods.name,
        image_url=goods.image_url,
        price_cents=goods.price_cents if goods.HasField("price_cents") else None,
        currency=goods.currency,
        on_sale=goods.on_sale,
        create_time=_NEVER,  # output only: set when it is written
        update_time=_NEVER,
    )


def order_request_from_proto(request: pb.CreateOrderRequest) -> OrderRequest:
    who = request.recipient
    return OrderRequest(
        user_id=request.user_id,
        request_id=request.request_id,
        lines=tuple((line.sku, line.quantity) for line in request.lines),
        recipient=Recipient(who.name, who.mobile, who.address),
        note=request.note,
        expected_total_cents=request.expected_total_cents if request.HasField("expected_total_cents") else None,
    )


def payment_notice_from_proto(request: pb.PayOrderRequest) -> PaymentNotice:
    return PaymentNotice(
        payment_id=request.payment_id,
        order_sn=request.order_sn,
        amount_cents=request.amount_cents,
        currency=request.currency,
        pay_type=request.pay_type,
        paid_time=_paid_time(request.paid_time),
    )


def _paid_time(stamp: Timestamp) -> datetime:
    """To the microsecond. The field's own rule looks at its seconds alone."""
    try:
        return stamp.ToDatetime(UTC)
    except ValueError:
        raise _invalid("paid_time", "must be a time: 0 to 999,999,999 nanos") from None


def state_from_proto(state: pb.OrderState.ValueType) -> State | None:
    """None: any state."""
    return State(pb.OrderState.Name(state).removeprefix("ORDER_STATE_")) if state else None


def outcome_from_proto(outcome: pb.PaymentOutcome.ValueType) -> Outcome | None:
    """None: any outcome."""
    return Outcome(pb.PaymentOutcome.Name(outcome).removeprefix("PAYMENT_OUTCOME_")) if outcome else None


def _close_cause(cause: CloseCause | None) -> pb.CloseCause.ValueType:
    return pb.CloseCause.Value(f"CLOSE_CAUSE_{cause}" if cause else "CLOSE_CAUSE_UNSPECIFIED")


def _invalid(field: str, rule: str) -> InvalidArgument:
    """The error for a field that breaks a rule which the proto can't express."""
    return InvalidArgument(f"{field}: {rule}", violations=[Violation(field, rule)])
