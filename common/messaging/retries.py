"""What happens to a message after its handler ran: done, another attempt later, or a dead letter.

The decision is the same for every driver. `RetryPolicy.deliver` runs the handler and returns an `Outcome`; the driver
only carries it out, in whatever way its broker offers:

    handler returned                       Handled
    handler raised, attempts are left      RetryAfter(pause)
    handler raised on the last attempt     GiveUp(attempts, error)
"""

import traceback
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog

from common.messaging.delay_levels import DELAY_LEVELS
from common.messaging.port import Delivery, Handler

log = structlog.get_logger(__name__)

LAST_ATTEMPT_LOST: Final = "the last attempt never reported back: its process died or was stopped"
"""The error of a dead letter whose last attempt was cut short."""

_LONGEST_ERROR: Final = 500


@dataclass(frozen=True, slots=True)
class Handled:
    """Acknowledge the message."""


@dataclass(frozen=True, slots=True)
class RetryAfter:
    """Deliver the message again after `pause`."""

    pause: timedelta


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Make the message a dead letter.

    Attributes:
        attempts: How often it was tried.
        error: The last failure, one line.
    """

    attempts: int
    error: str


Outcome = Handled | RetryAfter | GiveUp


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Runs handlers, and decides what follows.

    Attributes:
        tries: How often a message is tried before it becomes a dead letter; at least 1.
        first_pause: The pause after the first failure; later ones grow as `pause_before_retry` says.
    """

    tries: int
    first_pause: timedelta

    def deliver(self, delivery: Delivery, group: str, handler: Handler) -> Outcome:
        """Run the handler of `group` and decide what follows. Never raises; every failure is logged.

        A broker may deliver a message once more after its last attempt, when that attempt was cut short: then it is
        given up without running the handler.
        """
        if delivery.attempt > self.tries:
            return self._give_up(delivery, group, self.tries, LAST_ATTEMPT_LOST)
        try:
            handler(delivery)
        except BaseException as error:  # noqa: BLE001 - whatever a handler raises, the message must not be lost
            return self._after_failure(delivery, group, one_line(error))
        return Handled()

    def _after_failure(self, delivery: Delivery, group: str, error: str) -> Outcome:
        message = delivery.message
        log.warning("handler failed", topic=message.topic, key=message.key, attempt=delivery.attempt, error=error)
        if delivery.attempt >= self.tries:
            return self._give_up(delivery, group, delivery.attempt, error)
        return RetryAfter(pause_before_retry(delivery.attempt, self.first_pause))

    def _give_up(self, delivery: Delivery, group: str, attempts: int, error: str) -> GiveUp:
        message = delivery.message
        log.error("dead letter", topic=message.topic, group=group, key=message.key, attempts=attempts, error=error)
        return GiveUp(attempts, error)


def pause_before_retry(attempt: int, first: timedelta) -> timedelta:
    """The pause after attempt number `attempt` (from 1) failed: `first`, then growing as RocketMQ's delay levels do.

    With `first` = 1 s the pauses are the delay levels themselves. They never exceed the longest level, unless `first`
    does.
    """
    level = DELAY_LEVELS[min(attempt, len(DELAY_LEVELS)) - 1]
    return min(first * level.total_seconds(), max(DELAY_LEVELS[-1], first))


def one_line(error: BaseException) -> str:
    """The failure in one line that any store accepts: no lone surrogates, at most 500 characters."""
    text = " ".join("".join(traceback.format_exception_only(error)).split())
    return text.encode("utf-8", "replace").decode()[:_LONGEST_ERROR]
