"""The rules of an order's life: its states, who may move it, how check-backs are answered. Pure: no engine in sight.

The order row is the decision. Whoever moves it wins; everyone else reads it and follows.

    CREATING ──> UNPAID ──> PAID ──> FINISHED
        │           │         │
        v           v         v
      FAILED      CLOSED <────┘ (refund)
"""

from dataclasses import dataclass
from enum import StrEnum

from common.messaging.port import Resolution


class State(StrEnum):
    """Where an order is in its life."""

    CREATING = "CREATING"
    UNPAID = "UNPAID"
    PAID = "PAID"
    FINISHED = "FINISHED"
    CLOSED = "CLOSED"
    FAILED = "FAILED"


class Cause(StrEnum):
    """Why a half message `order_reback` was sent."""

    CREATE = "create"
    CLOSE = "close"
    REFUND = "refund"


class CloseCause(StrEnum):
    """What closed an order."""

    TIMEOUT = "TIMEOUT"
    CANCEL = "CANCEL"
    REFUND = "REFUND"


@dataclass(frozen=True, slots=True)
class Closing:
    """What an order is closed by, and the caller's words."""

    cause: CloseCause
    reason: str = ""


class Move(StrEnum):
    """A guarded change of state that a check-back may have to make."""

    FAIL = "fail"
    CLOSE = "close"
    REFUND = "refund"


def move_for_check_back(state: State, cause: Cause, *, past_creating_grace: bool) -> Move | None:
    """What has to be moved before a check-back can be answered; None: nothing."""
    if state is State.CREATING and past_creating_grace:
        return Move.FAIL
    if state is State.UNPAID and cause is Cause.CLOSE:
        return Move.CLOSE  # what was asked for is finished
    if state is State.PAID and cause is Cause.REFUND:
        return Move.REFUND
    return None


def resolution(state: State | None, cause: Cause) -> Resolution:
    """What the row says about a half message, once all moves for it were tried.

    COMMIT only on a row that is dead for good: a ROLLBACK may later be followed by a COMMIT, never the reverse.

    Args:
        state: The row's state by a locking read after the move; None: it could not be read, or there is no row.
        cause: Why the half message was sent.
    """
    if state is State.FAILED or state is State.CLOSED:
        return Resolution.COMMIT
    if state is None or state is State.CREATING:
        return Resolution.UNKNOWN
    move_did_not_happen = move_for_check_back(state, cause, past_creating_grace=False) is not None
    return Resolution.UNKNOWN if move_did_not_happen else Resolution.ROLLBACK
