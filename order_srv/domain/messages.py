"""What the order service says over the broker, and how it is written down: JSON, times in ISO 8601.

order_reback   {"order_sn", "cause": "create" | "close" | "refund", "sent_time"},
                   and for a close or refund "close_cause" and "reason"
order_timeout  {"order_sn", "expire_time"}
"""

import json
from dataclasses import dataclass
from datetime import datetime

from common.messaging.port import Message
from order_srv.domain.order_state import Cause, CloseCause, Closing

ORDER_REBACK = "order_reback"
ORDER_TIMEOUT = "order_timeout"


@dataclass(frozen=True, slots=True)
class Reback:
    """Give this order's stock back, if the order turns out dead; `closing` says what a close or refund wants."""

    order_sn: str
    cause: Cause
    sent_time: datetime
    closing: Closing | None = None

    def to_message(self) -> Message:
        body = {
            "order_sn": self.order_sn,
            "cause": self.cause.value,
            "sent_time": self.sent_time.isoformat(),
        }
        if self.closing is not None:
            body |= {"close_cause": self.closing.cause.value, "reason": self.closing.reason}
        return Message(ORDER_REBACK, self.order_sn, json.dumps(body).encode())

    @classmethod
    def from_message(cls, message: Message) -> "Reback":
        body = json.loads(message.body)
        close_cause = body.get("close_cause")
        return cls(
            order_sn=body["order_sn"],
            cause=Cause(body["cause"]),
            sent_time=datetime.fromisoformat(body["sent_time"]),
            closing=Closing(CloseCause(close_cause), body["reason"]) if close_cause else None,
        )


@dataclass(frozen=True, slots=True)
class Timeout:
    """This order's time to be paid is over at `expire_time`."""

    order_sn: str
    expire_time: datetime

    def to_message(self) -> Message:
        body = {"order_sn": self.order_sn, "expire_time": self.expire_time.isoformat()}
        return Message(ORDER_TIMEOUT, self.order_sn, json.dumps(body).encode())

    @classmethod
    def from_message(cls, message: Message) -> "Timeout":
        body = json.loads(message.body)
        return cls(body["order_sn"], datetime.fromisoformat(body["expire_time"]))
