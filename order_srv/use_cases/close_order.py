"""Closing orders inside the half message that gives their stock back: by timeout, cancel or refund.

Closes of one moment and one cause share a half message and a transaction, whatever message or call they came by.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final

from common.batching import GroupCommit
from common.clock import Clock
from common.crash_points import CrashHook
from common.database import CommitUnknown, DatabaseUnavailable
from common.deadline import Deadline
from common.messaging.port import Broker, MessagingError, Resolution
from order_srv.adapters.order_repository import OrderRepository
from order_srv.adapters.owed_returns import OwedReturns
from order_srv.crash_points import CrashPoint
from order_srv.domain.errors import OrderNotFound, OutcomeUnknown, state_forbids
from order_srv.domain.messages import NamedOrder, Reback, Timeout
from order_srv.domain.order import Order
from order_srv.domain.order_state import Cause, CloseCause, OrderStatus, State, decide, move_for_cause

_MOST_ORDERS: Final = 256  # of one half message

_GAPS: Final = {
    Cause.TIMEOUT: (CrashPoint.CLOSE_HALF_SENT, CrashPoint.CLOSE_MOVED, CrashPoint.CLOSE_ANSWERED),
    Cause.CANCEL: (CrashPoint.CLOSE_HALF_SENT, CrashPoint.CLOSE_MOVED, CrashPoint.CLOSE_ANSWERED),
    Cause.REFUND: (CrashPoint.REFUND_HALF_SENT, CrashPoint.REFUND_MOVED, CrashPoint.REFUND_ANSWERED),
}

Closes = Sequence[NamedOrder]
"""What one caller, or one message, wants closed."""
Statuses = Mapping[str, OrderStatus]
"""Where orders stand, by order_sn."""


class CloseOrder:
    """Closes orders.

    Args:
        orders: Orders.
        broker: Carries the half message, and a timeout that has to come again.
        clock: The one clock.
        creating_grace: How long an order may be CREATING.
        owed_returns: Told of what a group owes beside orders that live.
        crash_hook: Called at each crash point.
    """

    def __init__(
        self,
        *,
        orders: OrderRepository,
        broker: Broker,
        clock: Clock,
        creating_grace: timedelta,
        owed_returns: OwedReturns,
        crash_hook: CrashHook,
    ) -> None:
        self._orders = orders
        self._broker = broker
        self._clock = clock
        self._creating_grace = creating_grace
        self._owed_returns = owed_returns
        self._crash_hook = crash_hook
        self._groups: dict[Cause, GroupCommit[Closes, Statuses]] = {
            cause: GroupCommit(
                partial(self._close, cause),
                shared_errors=(MessagingError, DatabaseUnavailable),
                fits=_fits,
                at_once=4,  # one that hangs must not hold up the others
            )
            for cause in _GAPS
        }

    def time_out(self, timeout: Timeout) -> None:
        """Close those UNPAID orders whose time is over; publish a timeout again for those that it came too early for.

        Raises:
            Unavailable: The outcome is not known; the timeout has to be delivered again.
        """
        names = {each.order_sn: each for each in timeout.orders}
        statuses, now = self._orders.statuses(list(names)), self._clock.now()
        due = [names[sn] for sn, status in statuses.items() if move_for_cause(Cause.TIMEOUT, status, now)]
        if due:
            statuses |= self._groups[Cause.TIMEOUT].submit(due)
        again: dict[datetime, list[NamedOrder]] = {}
        for order_sn, status in statuses.items():
            if status.state is State.CREATING:
                again.setdefault(max(status.expire_time, now + self._creating_grace), []).append(names[order_sn])
            elif status.state is State.UNPAID:
                again.setdefault(status.expire_time, []).append(names[order_sn])
        for expire_time, orders in again.items():
            later = max(expire_time - self._clock.now(), timedelta())
            self._broker.publish_later(Timeout(expire_time, tuple(orders)).to_message(), later)
        if again:
            self._crash_hook(CrashPoint.TIMEOUT_PUT_OFF)

    def cancel(
        self, user_id: int, order_sn: str, reason: str, deadline: Deadline | None = None, traceparent: str = ""
    ) -> Order:
        """Close an UNPAID order that its user cancels; one that is dead already is returned as it is.

        Raises:
            OrderNotFound: There is none, or it is not this user's.
            FailedPrecondition: It is paid or finished.
            DeadlineExceeded: The caller no longer waits; perhaps it is closed.
            Unavailable: It is being created, or the outcome is not known.
        """
        order = self._existing(order_sn)
        if order.user_id != user_id:
            raise OrderNotFound(order_sn)
        if order.state is State.UNPAID:
            try:
                self._groups[Cause.CANCEL].submit([NamedOrder(order_sn, reason, traceparent)], deadline)
            except CommitUnknown:
                raise OutcomeUnknown(order_sn) from None
            order = self._existing(order_sn)
        if order.state in {State.CLOSED, State.FAILED}:
            return order
        raise state_forbids(order_sn, order.state)

    def refund(self, order_sn: str, reason: str, deadline: Deadline | None = None, traceparent: str = "") -> Order:
        """Close a PAID order, its payment REFUND_DUE; one that was refunded before is returned as it is.

        Raises:
            OrderNotFound: There is none.
            FailedPrecondition: It is not paid.
            DeadlineExceeded: The caller no longer waits; perhaps it is closed.
            Unavailable: It is being created, or the outcome is not known.
        """
        order = self._existing(order_sn)
        if order.state is State.PAID:
            try:
                self._groups[Cause.REFUND].submit([NamedOrder(order_sn, reason, traceparent)], deadline)
            except CommitUnknown:
                raise OutcomeUnknown(order_sn) from None
            order = self._existing(order_sn)
        if order.state is State.CLOSED and order.close_cause is CloseCause.REFUND:
            return order
        raise state_forbids(order_sn, order.state)

    def _close(self, cause: Cause, wanted: Sequence[Closes]) -> list[Statuses]:
        """Close what these callers want; where each of their orders stands after it."""
        named: dict[str, NamedOrder] = {}
        for each in wanted:
            for order in each:
                named.setdefault(order.order_sn, order)
        half_sent, moved, answered = _GAPS[cause]
        statuses: Statuses = {}

        def close() -> Resolution:
            nonlocal statuses
            self._crash_hook(half_sent)
            now = self._clock.now()
            statuses = self._orders.close_all(cause, {sn: order.reason for sn, order in named.items()}, now)
            self._crash_hook(moved)
            decision = decide(cause, {sn: statuses.get(sn) for sn in named}, now)
            self._owed_returns.hurry(decision.hurry, now)
            return decision.resolution

        self._broker.in_transaction(Reback(cause, self._clock.now(), tuple(named.values())).to_message(), close)
        self._crash_hook(answered)
        return [{o.order_sn: statuses[o.order_sn] for o in each if o.order_sn in statuses} for each in wanted]

    def _existing(self, order_sn: str) -> Order:
        order = self._orders.get(order_sn)
        if order is None:
            raise OrderNotFound(order_sn)
        return order


def _fits(group: Sequence[Closes], closes: Closes) -> bool:
    return not group or sum(map(len, group)) + len(closes) <= _MOST_ORDERS
