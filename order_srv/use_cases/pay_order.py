"""Payments: every well-formed one of a known order is recorded once; money is never dropped."""

from common.clock import Clock
from common.crash_points import CrashHook
from common.errors import FailedPrecondition, Violation
from order_srv.adapters.order_repository import OrderRepository
from order_srv.adapters.payment_repository import Payable, PaymentRepository
from order_srv.crash_points import CrashPoint
from order_srv.domain.errors import DifferentContent, OrderNotFound, PaymentNotFound, state_forbids
from order_srv.domain.order import Order
from order_srv.domain.order_state import State
from order_srv.domain.payment import Outcome, Payment, PaymentNotice, RefundReason, outcome_of_payment


class PaymentApplied(FailedPrecondition):
    """The payment pays its order; there is nothing to send back."""

    reason = "PAYMENT_APPLIED"


class PayOrder:
    """Records payments.

    Args:
        orders: Orders.
        payments: Payments.
        clock: The one clock.
        crash_hook: Called at each crash point.
    """

    def __init__(
        self, *, orders: OrderRepository, payments: PaymentRepository, clock: Clock, crash_hook: CrashHook
    ) -> None:
        self._orders = orders
        self._payments = payments
        self._clock = clock
        self._crash_hook = crash_hook

    def pay(self, notice: PaymentNotice) -> tuple[Order, Payment]:
        """Record a payment: APPLIED, or REFUND_DUE with its reason; a repeat returns it as it is now.

        Raises:
            OrderNotFound: There is no such order.
            DifferentContent: The payment_id was used for other money.
            Unavailable: The order is being created, or the outcome is not known.
        """
        payment = Payment(
            payment_id=notice.payment_id,
            order_sn=notice.order_sn,
            amount_cents=notice.amount_cents,
            currency=notice.currency,
            pay_type=notice.pay_type,
            paid_time=notice.paid_time,
            outcome=Outcome.REFUND_DUE,  # until its order's row is held
            create_time=self._clock.now(),
        )

        def decide(order: Payable | None) -> tuple[Outcome, RefundReason | None]:
            if order is None:
                raise OrderNotFound(notice.order_sn)
            if order.state is State.CREATING:
                raise state_forbids(notice.order_sn, State.CREATING)
            due, paid = (order.total_cents, order.currency), (notice.amount_cents, notice.currency)
            return outcome_of_payment(order.state, due=due, paid=paid)

        recorded = self._payments.record(payment, decide)
        if not recorded.same_content(payment):
            raise DifferentContent("payment_id", notice.payment_id)
        self._crash_hook(CrashPoint.PAY_COMMITTED)
        order = self._orders.get(notice.order_sn)
        if order is None:
            raise OrderNotFound(notice.order_sn)
        return order, recorded

    def mark_refunded(self, payment_id: str, refund_id: str) -> Payment:
        """Record that a payment's money was sent back; a repeat returns it as it is.

        Raises:
            PaymentNotFound: There is no such payment.
            PaymentApplied: Its money is not to be sent back.
            DifferentContent: It was sent back by another refund.
        """
        payment = self._payments.mark_refunded(payment_id, refund_id, self._clock.now())
        if payment is None:
            raise PaymentNotFound(payment_id)
        if payment.outcome is Outcome.APPLIED:
            raise PaymentApplied(
                f"payment {payment_id} pays its order",
                metadata={"payment_id": payment_id, "order_sn": payment.order_sn},
                violations=[Violation(payment_id, "the payment pays its order", "PAYMENT_APPLIED")],
            )
        if payment.refund_id != refund_id:
            raise DifferentContent("refund_id", refund_id)
        return payment
