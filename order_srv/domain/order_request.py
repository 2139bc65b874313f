"""What a user asks for when an order is created. Pure: no engine in sight."""

from dataclasses import dataclass
from typing import Final

from common.content_hash import content_hash
from order_srv.domain.order import Recipient

_FORM: Final = 1  # of the hashed content: a field more is a form more


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """An order that a user wants to place; without lines it buys the selected items of the cart."""

    user_id: int
    request_id: str
    lines: tuple[tuple[str, int], ...]
    recipient: Recipient
    note: str = ""
    expected_total_cents: int | None = None

    def content_hash(self) -> str:
        """A hash of the request as sent: it tells a repeat from another request with the same request_id."""
        who = (self.recipient.name, self.recipient.mobile, self.recipient.address)
        return content_hash(_FORM, self.lines, who, self.note, self.expected_total_cents)


@dataclass(frozen=True, slots=True)
class RequestKey:
    """What a request is recognized by: its id, unique per user, and the hash of its content."""

    request_id: str
    content_hash: str
