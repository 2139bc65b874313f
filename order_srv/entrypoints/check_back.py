"""Entrypoint: check-backs, in which the broker asks what became of a half message.

The rows of the orders that it names decide, by the rule in `domain/order_state.py`.
"""

from datetime import timedelta

import structlog

from common.clock import Clock
from common.crash_points import CrashHook
from common.messaging.port import Message, Resolution
from order_srv.adapters.order_repository import OrderRepository
from order_srv.adapters.owed_returns import OwedReturns
from order_srv.crash_points import CrashPoint
from order_srv.domain.messages import Reback, UnreadableMessage
from order_srv.domain.order_state import decide

log = structlog.get_logger(__name__)


class CheckBack:
    """Answers check-backs of `order_reback`.

    Args:
        orders: Orders; the primary.
        clock: The one clock.
        creating_grace: How long an order may be CREATING before a check-back fails it.
        owed_returns: Told of what a message's orders owe beside others that live.
        crash_hook: Called at each crash point.
    """

    def __init__(
        self,
        *,
        orders: OrderRepository,
        clock: Clock,
        creating_grace: timedelta,
        owed_returns: OwedReturns,
        crash_hook: CrashHook,
    ) -> None:
        self._orders = orders
        self._clock = clock
        self._creating_grace = creating_grace
        self._owed_returns = owed_returns
        self._crash_hook = crash_hook

    def answer(self, message: Message) -> Resolution:
        """Make the moves that the check-back calls for, if any, and answer by the rows.

        Raises:
            DatabaseUnavailable: Counts as UNKNOWN; the broker asks again.
        """
        try:
            reback = Reback.from_message(message)
        except UnreadableMessage as error:
            log.error("half message that can't be read", key=message.key, error=str(error))  # noqa: TRY400 it says all
            return Resolution.UNKNOWN
        now = self._clock.now()
        rows = self._orders.answer_check_back(reback, now, creating_grace=self._creating_grace)
        self._crash_hook(CrashPoint.CHECK_BACK_MOVED)
        missing = [order_sn for order_sn, status in rows.items() if status is None]
        if missing:
            # An order is written before its half message: this is another database, or a restored one.
            log.error("half message without an order", order_sns=missing, cause=reback.cause)
        decision = decide(reback.cause, rows, now)
        self._owed_returns.hurry(decision.hurry, now)
        return decision.resolution
