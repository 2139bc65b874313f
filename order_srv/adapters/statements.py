"""The SQL that writes orders: each statement in one form, for one order or many.

They are written as text, for every order passes here and a query builder would take longer than the engine does. A
change of state is one guarded statement, `… WHERE state = ? AND order_sn IN (…)`, made from a `Transition`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import cache
from typing import Any, Final

from common.database import Database, Statement, marks, padded, to_micros
from order_srv.domain.order import Event, EventKind, Order
from order_srv.domain.order_request import RequestKey
from order_srv.domain.order_state import Closing, State

ABANDONED: Final = "ABANDONED"
"""The failure_reason of an order whose creator never came back to it."""

_NEW_EVENT: Final = "order_event (order_sn, kind, detail, add_time)"

_NEW_ORDER: Final = (
    "orders (order_sn, user_id, request_id, request_hash, state,"
    " total_cents, currency, recipient_name, recipient_mobile, recipient_address, note,"
    " expire_time, close_reason, failure_reason, return_tries, add_time, update_time)"
)
_NEW_LINE: Final = "order_line (order_sn, sku, name, price_cents, quantity)"
_CART_ITEM: Final = "(user_id = ? AND sku = ? AND quantity = ?)"
_CART_ITEMS_AT_ONCE: Final = 32


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of one order's state.

    Attributes:
        source: The state that it has to be in.
        changes: The new value of each column.
        steps: What its timeline gets.
        bought_from_cart: The order, if what it bought leaves its user's cart.
        refunds: Whether its applied payment becomes REFUND_DUE.
    """

    source: State
    changes: Mapping[str, object]
    steps: tuple[Event, ...]
    bought_from_cart: Order | None = None
    refunds: bool = False

    @property
    def target(self) -> State:
        return State(str(self.changes["state"]))


def opened(steps: Sequence[Event], order: Order, *, from_cart: bool) -> Transition:
    """CREATING to UNPAID, and out of the cart exactly what was bought: same sku, same quantity."""
    return Transition(State.CREATING, {"state": State.UNPAID}, tuple(steps), order if from_cart else None)


def failed(reason: str, now: datetime, return_due: datetime | None, steps: Sequence[Event] = ()) -> Transition:
    """CREATING to FAILED after `steps`. Its request may be made anew. `return_due` None: it owes nothing."""
    changes = {"state": State.FAILED, "failure_reason": reason, "request_id": None, "return_due": return_due}
    return Transition(State.CREATING, changes, (*steps, Event(EventKind.FAILED, now, reason)))


def closed(source: State, closing: Closing, now: datetime, return_due: datetime) -> Transition:
    """UNPAID, or PAID with a refund, to CLOSED."""
    changes = {
        "state": State.CLOSED,
        "close_time": now,
        "close_cause": closing.cause,
        "close_reason": closing.reason,
        "return_due": return_due,
    }
    detail = f"{closing.cause}: {closing.reason}" if closing.reason else closing.cause.value
    step = Event(EventKind.CLOSED, now, detail)
    return Transition(source, changes, (step,), refunds=source is State.PAID)


def inserting(database: Database, orders: Sequence[tuple[Order, RequestKey]]) -> list[Statement]:
    """What writes new orders down as CREATING."""
    lines = [
        (order.order_sn, line.sku, line.name, line.price_cents, line.quantity)
        for order, _ in orders
        for line in order.lines
    ]
    created = [(order.order_sn, Event(EventKind.CREATED, order.create_time)) for order, _ in orders]
    return [
        *database.inserting(_NEW_ORDER, [_order_row(order, request) for order, request in orders]),
        *database.inserting(_NEW_LINE, lines),
        *noting(database, created),
    ]


def moving(transitions: Mapping[str, Transition], now: datetime) -> list[tuple[Statement, int]]:
    """What makes these transitions, by order_sn, each with how many rows it has to find; alike ones go in one."""
    alike: dict[tuple[object, ...], list[str]] = {}
    for order_sn, transition in sorted(transitions.items()):
        key = (transition.source, *transition.changes.items())
        alike.setdefault(key, []).append(order_sn)
    updates: list[tuple[Statement, int]] = []
    for order_sns in alike.values():
        changes, source = transitions[order_sns[0]].changes, transitions[order_sns[0]].source
        here = padded(order_sns)
        values = (*(_plain(value) for value in changes.values()), to_micros(now), source.value, *here)
        updates.append(((_moving(len(here), *changes), values), len(order_sns)))
    return updates


def steps_of(database: Database, transitions: Mapping[str, Transition]) -> list[Statement]:
    """What writes down the steps of these transitions, by order_sn, and takes what was bought out of the carts."""
    steps = [(order_sn, step) for order_sn, transition in sorted(transitions.items()) for step in transition.steps]
    bought = [each.bought_from_cart for each in transitions.values() if each.bought_from_cart is not None]
    return [*noting(database, steps), *_leaving_carts(bought)]


def noting(database: Database, steps: Sequence[tuple[str, Event]]) -> list[Statement]:
    """What writes down steps that orders took."""
    rows = [(order_sn, step.kind.value, step.detail, to_micros(step.time)) for order_sn, step in steps]
    return list(database.inserting(_NEW_EVENT, rows))


def _leaving_carts(orders: Sequence[Order]) -> Iterator[Statement]:
    items = [(order.user_id, line.sku, line.quantity) for order in orders for line in order.lines]
    for done in range(0, len(items), _CART_ITEMS_AT_ONCE):
        some = items[done : done + _CART_ITEMS_AT_ONCE]
        here = " OR ".join([_CART_ITEM] * len(some))
        yield f"DELETE FROM cart_item WHERE {here}", [value for item in some for value in item]  # noqa: S608 our words


def _order_row(order: Order, request: RequestKey) -> tuple[Any, ...]:
    now = to_micros(order.create_time)
    who = order.recipient
    return (
        *(order.order_sn, order.user_id, request.request_id, request.content_hash, order.state.value),
        *(order.total_cents, order.currency, who.name, who.mobile, who.address, order.note),
        *(to_micros(order.expire_time), "", "", 0, now, now),
    )


@cache
def _moving(orders: int, *columns: str) -> str:
    changes = "".join(f"{column} = ?, " for column in columns)
    # `+`: else SQLite takes the index of the states, and reads every order that is in this one.
    here = f"+state = ? AND order_sn IN ({marks(orders)})"
    return f"UPDATE orders SET {changes}update_time = ? WHERE {here}"  # noqa: S608 ours


def _plain(value: object) -> object:
    """A value as the engine takes it."""
    if isinstance(value, datetime):
        return to_micros(value)
    return value.value if isinstance(value, StrEnum) else value
