"""Stock that a dead order owes beside others that live: no message can return it, so the sweeper has to, at once."""

from collections.abc import Callable, Sequence
from datetime import datetime

import structlog

from common.database import DatabaseUnavailable
from order_srv.adapters.order_repository import OrderRepository

log = structlog.get_logger(__name__)


class OwedReturns:
    """Hurries returns.

    Args:
        orders: Orders.
        wake_sweeper: Has the sweeper begin a round now.
    """

    def __init__(self, orders: OrderRepository, wake_sweeper: Callable[[], None]) -> None:
        self._orders = orders
        self._wake_sweeper = wake_sweeper

    def hurry(self, order_sns: Sequence[str], now: datetime) -> None:
        """Make the returns of these orders due now, and wake the sweeper; never raises for a database in trouble."""
        if not order_sns:
            return
        try:
            self._orders.hurry_returns(order_sns, now)
        except DatabaseUnavailable as error:  # they are returned later, when they are due
            log.warning("returns not hurried", order_sns=order_sns, error=str(error))
        self._wake_sweeper()
