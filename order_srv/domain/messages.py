"""What the order service says over the broker, and how it is written down: JSON, times in ISO 8601.

order_reback   {"cause": "create" | "timeout" | "cancel" | "refund", "sent_time",
                "orders": [{"order_sn", "reason"?, "traceparent"?}, …]}
order_timeout  {"expire_time", "orders": [{"order_sn", "traceparent"?}, …]}

Readers ignore fields that they do not know. The order numbers stand in the body; the key of a message is its first one.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from common.messaging.port import Message
from order_srv.domain.order_state import Cause

ORDER_REBACK = "order_reback"
ORDER_TIMEOUT = "order_timeout"


class UnreadableMessage(ValueError):
    """A message of a form that this version does not know; no retry will make it readable."""


@dataclass(frozen=True, slots=True)
class NamedOrder:
    """An order that a message names.

    Attributes:
        reason: The words of whoever wants it closed.
        traceparent: The W3C trace context of the call that the order came by; empty: it had none.
    """

    order_sn: str
    reason: str = ""
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class Reback:
    """Give these orders' stock back, if they turn out dead."""

    cause: Cause
    sent_time: datetime
    orders: tuple[NamedOrder, ...]

    def to_message(self) -> Message:
        head = {"cause": self.cause.value, "sent_time": self.sent_time.isoformat()}
        return _message(ORDER_REBACK, head, self.orders)

    @classmethod
    def from_message(cls, message: Message) -> "Reback":
        """Read it.

        Raises:
            UnreadableMessage: It has another form.
        """
        try:
            body = json.loads(message.body)
            return cls(Cause(body["cause"]), datetime.fromisoformat(body["sent_time"]), _orders(body))
        except (ValueError, TypeError, KeyError) as error:
            raise UnreadableMessage(f"not an {ORDER_REBACK} that this version knows: {error!r}") from error


@dataclass(frozen=True, slots=True)
class Timeout:
    """The time in which these orders had to be paid is over at `expire_time`."""

    expire_time: datetime
    orders: tuple[NamedOrder, ...]

    def to_message(self) -> Message:
        return _message(ORDER_TIMEOUT, {"expire_time": self.expire_time.isoformat()}, self.orders)

    @classmethod
    def from_message(cls, message: Message) -> "Timeout":
        """Read it.

        Raises:
            UnreadableMessage: It has another form.
        """
        try:
            body = json.loads(message.body)
            return cls(datetime.fromisoformat(body["expire_time"]), _orders(body))
        except (ValueError, TypeError, KeyError) as error:
            raise UnreadableMessage(f"not an {ORDER_TIMEOUT} that this version knows: {error!r}") from error


def _message(topic: str, head: Mapping[str, str], orders: Sequence[NamedOrder]) -> Message:
    named = [
        {"order_sn": each.order_sn}
        | ({"reason": each.reason} if each.reason else {})
        | ({"traceparent": each.traceparent} if each.traceparent else {})
        for each in orders
    ]
    return Message(topic, orders[0].order_sn, json.dumps({**head, "orders": named}).encode())


def _orders(body: Mapping[str, Any]) -> tuple[NamedOrder, ...]:
    orders = tuple(
        NamedOrder(_text(each["order_sn"]), _text(each.get("reason", "")), _text(each.get("traceparent", "")))
        for each in body["orders"]
    )
    if not orders or not all(each.order_sn for each in orders):
        raise ValueError("it names no order")
    return orders


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a text")
    return value
