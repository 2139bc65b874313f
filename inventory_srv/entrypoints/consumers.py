"""The entrypoint of topic `order_reback`: an order is over, its stock comes back."""

import json
import re
from datetime import timedelta
from typing import Final

import structlog

from common.crash_points import CrashHook, no_crash
from common.deadline import Deadline
from common.messaging.port import Delivery
from inventory_srv.crash_points import CrashPoint
from inventory_srv.domain.changes import Reback
from inventory_srv.use_cases.stock_writer import StockWriter

log = structlog.get_logger(__name__)

TOPIC: Final = "order_reback"
GROUP: Final = "inventory"

_LONGEST_ORDER_SN: Final = 64
_LONGEST_REASON: Final = 200
_HALF_CHARACTER: Final = re.compile("[\ud800-\udfff]")  # JSON can have one alone, no database can


class UnreadableMessage(ValueError):
    """A message that no retry will make readable. After its last attempt it is kept as a dead letter."""


class OrderRebackConsumer:
    """Returns the stock of the order that a message names; once, however often the message comes.

    A message's body is `{"order_sn": "…", "cause": "create", "sent_time": "2026-01-01T00:00:00Z"}`; the cause (create,
    close or refund) becomes the reason of the reback.

    Args:
        timeout: How long one attempt may take before the message is retried.
    """

    def __init__(
        self,
        writer: StockWriter,
        *,
        timeout: timedelta = timedelta(seconds=30),
        crash_hook: CrashHook = no_crash,
    ) -> None:
        self._writer = writer
        self._timeout = timeout.total_seconds()
        self._crash_hook = crash_hook

    def handle(self, delivery: Delivery) -> None:
        """Handle one delivery.

        Raises:
            UnreadableMessage: It can't be read.
            DomainError: It could not be done now; the broker delivers it again.
        """
        try:
            reback = read_reback(delivery.message.body)
        except UnreadableMessage as error:
            log.warning("unreadable reback message", message_id=delivery.message_id, error=str(error))
            raise
        self._writer.carry_out(reback, Deadline.after(self._timeout))
        self._crash_hook(CrashPoint.REBACK_DONE)


def read_reback(body: bytes) -> Reback:
    """Read a message's body.

    Raises:
        UnreadableMessage: It is not of the shape above.
    """
    try:
        content = json.loads(body)
    except ValueError:
        raise UnreadableMessage("the body is not JSON") from None
    if not isinstance(content, dict):
        raise UnreadableMessage("the body is not an object")
    return Reback(_text(content, "order_sn", _LONGEST_ORDER_SN), _text(content, "cause", _LONGEST_REASON))


def _text(content: dict[str, object], name: str, longest: int) -> str:
    text = content.get(name)
    if not isinstance(text, str) or not 1 <= len(text) <= longest or _HALF_CHARACTER.search(text):
        raise UnreadableMessage(f"{name} is not a text of 1 to {longest} characters")
    return text
