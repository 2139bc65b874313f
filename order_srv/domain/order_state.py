"""The rules of an order's life: its states, who may move it, how a half message is resolved. Pure: no engine in sight.

The order row is the decision. Whoever moves it wins; everyone else reads it and follows.

    CREATING ──> UNPAID ──> PAID ──> FINISHED
        │           │         │
        v           v         v
      FAILED      CLOSED <────┘ (refund)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NamedTuple

from common.messaging.port import Resolution


class State(StrEnum):
    """Where an order is in its life."""

    CREATING = "CREATING"
    UNPAID = "UNPAID"
    PAID = "PAID"
    FINISHED = "FINISHED"
    CLOSED = "CLOSED"
    FAILED = "FAILED"


DEAD: Final = frozenset({State.FAILED, State.CLOSED})
"""The states of an order that never lives again; it may owe its stock."""


class Cause(StrEnum):
    """Why a half message `order_reback` was sent."""

    CREATE = "create"
    TIMEOUT = "timeout"
    CANCEL = "cancel"
    REFUND = "refund"


class CloseCause(StrEnum):
    """What closed an order."""

    TIMEOUT = "TIMEOUT"
    CANCEL = "CANCEL"
    REFUND = "REFUND"


CLOSE_CAUSES: Final = {
    Cause.TIMEOUT: CloseCause.TIMEOUT,
    Cause.CANCEL: CloseCause.CANCEL,
    Cause.REFUND: CloseCause.REFUND,
}
"""What an order is closed by whose half message has this cause."""


@dataclass(frozen=True, slots=True)
class Closing:
    """What an order is closed by, and the caller's words."""

    cause: CloseCause
    reason: str = ""


@dataclass(frozen=True, slots=True)
class OrderStatus:
    """Where one order stands, as its row says.

    Attributes:
        owes: Whether inventory has not yet said that the stock of this dead order is back.
        create_time: When it was written down.
        expire_time: Until when it has to be paid.
    """

    state: State
    owes: bool
    create_time: datetime
    expire_time: datetime

    @property
    def dead(self) -> bool:
        return self.state in DEAD


class Move(StrEnum):
    """A guarded change of state that a half message asks for."""

    FAIL = "fail"
    CLOSE = "close"
    REFUND = "refund"


def move_for_cause(cause: Cause, status: OrderStatus, now: datetime) -> Move | None:
    """The move that a half message of this cause is for, if the order is in the state for it."""
    if status.state is State.UNPAID and cause is Cause.CANCEL:
        return Move.CLOSE
    if status.state is State.UNPAID and cause is Cause.TIMEOUT and status.expire_time <= now:
        return Move.CLOSE
    if status.state is State.PAID and cause is Cause.REFUND:
        return Move.REFUND
    return None


def move_for_check_back(cause: Cause, status: OrderStatus, now: datetime, creating_grace: timedelta) -> Move | None:
    """The move that has to be made before a check-back is answered; None: none."""
    if status.state is State.CREATING and status.create_time + creating_grace < now:
        return Move.FAIL
    return move_for_cause(cause, status, now)  # what was asked for is finished


class Decision(NamedTuple):
    """What a half message's rows say.

    Attributes:
        resolution: The answer to the broker.
        hurry: The orders whose stock can't come back by this message, because others that it names are alive. The
            sweeper has to return it soon: then a later check-back finds that nobody owes anything.
    """

    resolution: Resolution
    hurry: tuple[str, ...] = ()


def decide(cause: Cause, rows: Mapping[str, OrderStatus | None], now: datetime) -> Decision:
    """The one rule for every half message: for its sender, for check-backs by any replica, for late answers.

    COMMIT only when every order is dead for good: a ROLLBACK may later be followed by a COMMIT, never the reverse. A
    ROLLBACK that was wrong delays a return until the sweeper makes it; a COMMIT that was wrong would oversell.

    Args:
        cause: Why the half message was sent.
        rows: Each order that it names, by a locking read after all moves for it were tried; None: there is no such row.
        now: The moment of those moves.
    """
    statuses = [status for status in rows.values() if status is not None]
    if len(statuses) < len(rows):
        return Decision(Resolution.UNKNOWN)
    if any(status.state is State.CREATING or move_for_cause(cause, status, now) for status in statuses):
        return Decision(Resolution.UNKNOWN)
    owing = tuple(order_sn for order_sn, status in rows.items() if status is not None and status.owes)
    if not owing:
        return Decision(Resolution.ROLLBACK)
    if all(status.dead for status in statuses):
        return Decision(Resolution.COMMIT)
    return Decision(Resolution.UNKNOWN, hurry=owing)
