"""Which orders may be created together. Pure: no engine in sight."""

from collections.abc import Sequence
from typing import Final

from common.deadline import Deadline
from order_srv.domain.order_request import OrderRequest

MOST_ORDERS: Final = 64
"""How many orders inventory sells to at once."""

MOST_LINES: Final = 1_000
"""How many lines they may have in all."""

_LINES_OF_A_CART: Final = 15  # a guess: a group is cut when it is known how many there are
_HURRIED_S: Final = 0.5


class NewOrder:
    """An order that a caller wants to be created.

    Attributes:
        traceparent: The W3C trace context of the call; empty: it has none.
        key: What the request is recognized by: user_id and request_id.
        from_cart: Whether it buys what is selected in the user's cart.
    """

    __slots__ = ("deadline", "from_cart", "key", "lines", "request", "traceparent")

    def __init__(self, request: OrderRequest, deadline: Deadline, traceparent: str = "") -> None:
        self.request = request
        self.deadline = deadline
        self.traceparent = traceparent
        self.key = request.user_id, request.request_id
        self.from_cart = not request.lines
        self.lines = len(request.lines) or _LINES_OF_A_CART

    @property
    def hurried(self) -> bool:
        return self.deadline.remaining() < _HURRIED_S


def fits(group: Sequence[NewOrder], new: NewOrder) -> bool:
    """Whether an order may join a group.

    Not with another of the same request or, out of the cart, of the same user: it has to find what became of the first.
    Nor do those in a hurry join the others: each step of a group gets the time that the most hurried of them has.
    """
    if not group:
        return True
    if group[0].hurried is not new.hurried:
        return False
    lines = new.lines
    for each in group:
        if each.key == new.key or (each.from_cart and new.from_cart and each.key[0] == new.key[0]):
            return False
        lines += each.lines
    return lines <= MOST_LINES
