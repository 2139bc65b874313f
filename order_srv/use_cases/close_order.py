"""Closing an order inside the half message that gives its stock back: by timeout, cancel or refund."""

from collections.abc import Callable
from datetime import timedelta

from common.clock import Clock
from common.crash_points import CrashHook
from common.messaging.port import Broker, Resolution
from order_srv.adapters.order_repository import OrderRepository
from order_srv.crash_points import CrashPoint
from order_srv.domain.errors import OrderNotFound, outcome_unknown, state_forbids
from order_srv.domain.messages import Reback, Timeout
from order_srv.domain.order import Order
from order_srv.domain.order_state import Cause, CloseCause, Closing, State, resolution


class CloseOrder:
    """Closes orders.

    Args:
        orders: Orders and payments.
        broker: Carries the half message, and a timeout that has to come again.
        clock: The one clock.
        creating_grace: How long an order may be CREATING.
        crash_hook: Called at each crash point.
    """

    def __init__(
        self, *, orders: OrderRepository, broker: Broker, clock: Clock, creating_grace: timedelta, crash_hook: CrashHook
    ) -> None:
        self._orders = orders
        self._broker = broker
        self._clock = clock
        self._creating_grace = creating_grace
        self._crash_hook = crash_hook

    def time_out(self, timeout: Timeout) -> None:
        """Close an UNPAID order whose time is over; publish the timeout again when it came too early.

        Raises:
            Unavailable: The outcome is not known; the timeout has to be delivered again.
        """
        order_sn = timeout.order_sn
        order = self._orders.standing(order_sn)
        if order is None or order.state not in {State.CREATING, State.UNPAID}:
            return
        early_by = order.expire_time - self._clock.now()
        if order.state is State.CREATING:
            early_by = max(early_by, self._creating_grace)
        if early_by > timedelta():
            self._broker.publish_later(timeout.to_message(), early_by)
            self._crash_hook(CrashPoint.TIMEOUT_PUT_OFF)
            return
        state = self._close(order_sn, Closing(CloseCause.TIMEOUT))
        if state in {None, State.CREATING, State.UNPAID}:
            raise outcome_unknown(order_sn)

    def cancel(self, user_id: int, order_sn: str, reason: str) -> Order:
        """Close an UNPAID order that its user cancels; one that is dead already is returned as it is.

        Raises:
            OrderNotFound: There is none, or it is not this user's.
            FailedPrecondition: It is paid or finished.
            Unavailable: It is being created, or the outcome is not known.
        """
        order = self._existing(order_sn)
        if order.user_id != user_id:
            raise OrderNotFound(order_sn)
        state: State | None = order.state
        if state is State.UNPAID:
            state = self._close(order_sn, Closing(CloseCause.CANCEL, reason))
        return self._closed(order_sn, state, {State.CLOSED, State.FAILED}, tried=State.UNPAID)

    def refund(self, order_sn: str, reason: str) -> Order:
        """Close a PAID order, its payment REFUND_DUE; one that was refunded before is returned as it is.

        Raises:
            OrderNotFound: There is none.
            FailedPrecondition: It is not paid.
            Unavailable: It is being created, or the outcome is not known.
        """
        order = self._existing(order_sn)
        if order.state is State.PAID:
            state = self._refund(order_sn, Closing(CloseCause.REFUND, reason))
            return self._closed(order_sn, state, {State.CLOSED}, tried=State.PAID)
        if order.state is State.CLOSED and order.close_cause is CloseCause.REFUND:
            return order
        raise state_forbids(order_sn, order.state)

    def _close(self, order_sn: str, closing: Closing) -> State | None:
        reback = Reback(order_sn, Cause.CLOSE, self._clock.now(), closing)
        gaps = CrashPoint.CLOSE_HALF_SENT, CrashPoint.CLOSE_MOVED, CrashPoint.CLOSE_ANSWERED
        return self._in_transaction(reback, gaps, lambda: self._orders.close(order_sn, closing, self._clock.now()))

    def _refund(self, order_sn: str, closing: Closing) -> State | None:
        reback = Reback(order_sn, Cause.REFUND, self._clock.now(), closing)
        gaps = CrashPoint.REFUND_HALF_SENT, CrashPoint.REFUND_MOVED, CrashPoint.REFUND_ANSWERED
        return self._in_transaction(reback, gaps, lambda: self._orders.refund(order_sn, closing, self._clock.now()))

    def _in_transaction(
        self, reback: Reback, gaps: tuple[CrashPoint, CrashPoint, CrashPoint], move: Callable[[], State | None]
    ) -> State | None:
        half_sent, moved, answered = gaps
        state: State | None = None

        def decide() -> Resolution:
            nonlocal state
            self._crash_hook(half_sent)
            state = move()
            self._crash_hook(moved)
            return resolution(state, reback.cause)

        self._broker.in_transaction(reback.to_message(), decide)
        self._crash_hook(answered)
        return state

    def _existing(self, order_sn: str) -> Order:
        order = self._orders.get(order_sn)
        if order is None:
            raise OrderNotFound(order_sn)
        return order

    def _closed(self, order_sn: str, state: State | None, wanted: set[State], *, tried: State) -> Order:
        if state in wanted:
            return self._existing(order_sn)
        if state is None or state is tried:
            raise outcome_unknown(order_sn)
        raise state_forbids(order_sn, state)
