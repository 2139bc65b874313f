"""The entrypoint of topic `order_reback`: orders are over, their stock comes back."""

import json
import re
from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import structlog

from common.crash_points import CrashHook, no_crash
from common.deadline import Deadline
from common.messaging.port import Delivery
from inventory_srv.crash_points import CrashPoint
from inventory_srv.domain.changes import Reback
from inventory_srv.settings import MOST_TOGETHER
from inventory_srv.use_cases.stock_writer import StockWriter

log = structlog.get_logger(__name__)

TOPIC: Final = "order_reback"
GROUP: Final = "inventory"

MOST_ORDERS: Final = MOST_TOGETHER
"""How many orders a message may name."""

_LONGEST_ORDER_SN: Final = 64
_LONGEST_REASON: Final = 200
_HALF_CHARACTER: Final = re.compile("[\ud800-\udfff]")  # JSON can have one alone, no database can


class UnreadableMessage(ValueError):
    """A message that no retry will make readable. After its last attempt it is kept as a dead letter."""


class OrderRebackConsumer:
    """Returns the stock of the orders that a message names; of each once, however often the message comes.

    A message's body is `{"cause": "create", "sent_time": "2026-01-01T00:00:00Z", "orders": [{"order_sn": "…"}, …]}`.
    It names 1 to `MOST_ORDERS` orders; its cause (create, timeout, cancel or refund) becomes the reason of each reback.
    What else it says is ignored.

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
        """Handle one delivery: every order by itself, so that one that fails keeps no other from its return.

        Raises:
            UnreadableMessage: It can't be read.
            Exception: The first failure, once all orders were tried: a DomainError, or a bug that one order runs into.
                The broker delivers the message again; those that were done are done.
        """
        try:
            rebacks = read_rebacks(delivery.message.body)
        except UnreadableMessage as error:
            log.warning("unreadable reback message", message_id=delivery.message_id, error=str(error))
            raise
        failures = self._failures(rebacks)
        if failures:
            raise failures[0]
        self._crash_hook(CrashPoint.REBACK_DONE)

    def _failures(self, rebacks: Sequence[Reback]) -> list[Exception]:
        failures = []
        outcomes = self._writer.carry_out_all(rebacks, Deadline.after(self._timeout))
        for reback, outcome in zip(rebacks, outcomes, strict=True):
            if isinstance(outcome, Exception):
                log.warning("an order could not be given back", order_sn=reback.order_sn, exc_info=outcome)
                failures.append(outcome)
        return failures


def read_rebacks(body: bytes) -> list[Reback]:
    """Read a message's body.

    Raises:
        UnreadableMessage: It is not of the shape above.
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):  # the latter: of brackets in brackets
        raise UnreadableMessage("the body is not JSON") from None
    if not isinstance(content, dict):
        raise UnreadableMessage("the body is not an object")
    cause = _text(content, "cause", _LONGEST_REASON)
    return [
        Reback(_text(order, "order_sn", _LONGEST_ORDER_SN, of=f"orders[{at}]."), cause)
        for at, order in enumerate(_orders(content))
    ]


def _orders(content: dict[str, object]) -> list[dict[str, object]]:
    orders = content.get("orders")
    if not isinstance(orders, list) or not 1 <= len(orders) <= MOST_ORDERS:
        raise UnreadableMessage(f"orders is not a list of 1 to {MOST_ORDERS}")
    if not all(isinstance(order, dict) for order in orders):
        raise UnreadableMessage("orders has one that is not an object")
    return orders


def _text(content: dict[str, object], name: str, longest: int, *, of: str = "") -> str:
    text = content.get(name)
    if not isinstance(text, str) or not 1 <= len(text) <= longest or _HALF_CHARACTER.search(text):
        raise UnreadableMessage(f"{of}{name} is not a text of 1 to {longest} characters")
    return text
