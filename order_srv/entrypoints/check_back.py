"""Entrypoint: check-backs, in which the broker asks what became of a half message.

The order's row decides, by the table in `domain/order_state.py`.
"""

from datetime import timedelta

import structlog

from common.clock import Clock
from common.crash_points import CrashHook
from common.messaging.port import Message, Resolution
from order_srv.adapters.order_repository import OrderRepository
from order_srv.crash_points import CrashPoint
from order_srv.domain.messages import Reback
from order_srv.domain.order_state import CloseCause, Closing, resolution

log = structlog.get_logger(__name__)


class CheckBack:
    """Answers check-backs of `order_reback`.

    Args:
        orders: Orders and payments; the primary.
        clock: The one clock.
        creating_grace: How long an order may be CREATING before a check-back fails it.
        crash_hook: Called at each crash point.
    """

    def __init__(
        self, *, orders: OrderRepository, clock: Clock, creating_grace: timedelta, crash_hook: CrashHook
    ) -> None:
        self._orders = orders
        self._clock = clock
        self._creating_grace = creating_grace
        self._crash_hook = crash_hook

    def answer(self, message: Message) -> Resolution:
        """Make the move that the check-back calls for, if any, and answer by the row.

        Raises:
            DatabaseUnavailable: Counts as UNKNOWN; the broker asks again.
        """
        reback = Reback.from_message(message)
        closing = reback.closing or Closing(CloseCause.TIMEOUT)
        state = self._orders.answer_check_back(
            reback.order_sn, reback.cause, closing, self._clock.now(), creating_grace=self._creating_grace
        )
        self._crash_hook(CrashPoint.CHECK_BACK_MOVED)
        if state is None:
            # An order is written before its half message: this is another database, or a restored one.
            log.error("half message without an order", order_sn=reback.order_sn, cause=reback.cause)
        return resolution(state, reback.cause)
