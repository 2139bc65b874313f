"""Payments: each is recorded once, by its id."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

import peewee

from common.crash_points import CrashHook
from common.database import Database
from order_srv.adapters import rows, statements
from order_srv.adapters.models import PaymentRow
from order_srv.adapters.statements import Transition
from order_srv.crash_points import CrashPoint
from order_srv.domain.order import Event, EventKind
from order_srv.domain.order_state import State
from order_srv.domain.payment import Outcome, Payment, RefundReason


@dataclass(frozen=True, slots=True)
class Payable:
    """What a payment is compared with."""

    state: State
    total_cents: int
    currency: str


Decide = Callable[[Payable | None], tuple[Outcome, RefundReason | None]]
"""What becomes of a payment, by its order, whose row is held; None: there is no such order."""


class PaymentRepository:
    """Payments.

    Args:
        database: Where they are.
        crash_hook: Called at each crash point.
    """

    def __init__(self, database: Database, *, crash_hook: CrashHook) -> None:
        self._database = database
        self._crash_hook = crash_hook

    def record(self, payment: Payment, decide: Decide) -> Payment:
        """Record a payment once, together with the order's move to PAID when it is applied.

        Args:
            payment: As it came.
            decide: What becomes of it.

        Returns:
            The payment as it stands now; of one that was recorded before, that record, whatever it says.

        Raises:
            CommitUnknown: It is not known whether it was recorded.
            DatabaseUnavailable: It was not.
            Exception: What `decide` raises.
        """

        def work() -> Payment:
            recorded = self._held(payment.payment_id)
            if recorded is None:
                recorded = self._record(payment, decide)
            self._crash_hook(CrashPoint.PAY_BEFORE_COMMIT)
            return recorded

        return self._database.write_again(work, repeat_on=peewee.IntegrityError)

    def _record(self, payment: Payment, decide: Decide) -> Payment:
        held = f"SELECT state, total_cents, currency FROM orders WHERE order_sn = ?{self._database.for_update}"  # noqa: S608
        row = self._database.execute(held, (payment.order_sn,)).fetchone()
        outcome, refund_reason = decide(None if row is None else Payable(State(row[0]), row[1], row[2]))
        now, recorded = payment.create_time, replace(payment, outcome=outcome, refund_reason=refund_reason)
        if outcome is Outcome.APPLIED:
            step = Event(EventKind.PAID, now, payment.payment_id)
            changes = {"state": State.PAID, "pay_time": payment.paid_time}
            paid = {payment.order_sn: Transition(State.UNPAID, changes, (step,))}
            moving, steps = statements.moving(paid, now), statements.steps_of(self._database, paid)
        else:
            step = Event(EventKind.REFUND_DUE, now, payment.payment_id)
            moving, steps = [], statements.noting(self._database, [(payment.order_sn, step)])
        inserting = self._database.inserting(rows.NEW_PAYMENT, [rows.from_payment(recorded)])
        self._database.at_commit([*inserting, *steps], moving)
        return recorded

    def mark_refunded(self, payment_id: str, refund_id: str, now: datetime) -> Payment | None:
        """Move a payment from REFUND_DUE to REFUNDED; the payment as it is after it, None when there is none."""

        def work() -> Payment | None:
            payment = self._held(payment_id)
            if payment is None or payment.outcome is not Outcome.REFUND_DUE:
                return payment
            here = PaymentRow.payment_id == payment_id
            refunded = replace(payment, outcome=Outcome.REFUNDED, refund_id=refund_id, refund_time=now)
            changes = {"outcome": refunded.outcome, "refund_id": refund_id, "refund_time": now, "update_time": now}
            self._database.run(PaymentRow.update(**changes).where(here))
            step = [(payment.order_sn, Event(EventKind.REFUNDED, now, payment_id))]
            self._database.at_commit(statements.noting(self._database, step))
            return refunded

        return self._database.write_again(work)

    def _held(self, payment_id: str) -> Payment | None:
        here = PaymentRow.select().where(PaymentRow.payment_id == payment_id)
        found = self._database.select(self._database.locking(here))
        return rows.to_payment(found[0]) if found else None
