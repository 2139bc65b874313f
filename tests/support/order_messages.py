"""Messages of the order service, as a test sends them itself."""

from collections.abc import Iterable
from datetime import datetime

from common.messaging.port import Message
from order_srv.domain.messages import NamedOrder, Reback, Timeout
from order_srv.domain.order_state import Cause


def reback_message(cause: Cause, sent_time: datetime, *order_sns: str, reason: str = "") -> Message:
    """A half message that names these orders."""
    return Reback(cause, sent_time, _named(order_sns, reason)).to_message()


def timeout_message(expire_time: datetime, *order_sns: str) -> Message:
    """A timeout of these orders."""
    return Timeout(expire_time, _named(order_sns)).to_message()


def _named(order_sns: Iterable[str], reason: str = "") -> tuple[NamedOrder, ...]:
    return tuple(NamedOrder(order_sn, reason) for order_sn in order_sns)
