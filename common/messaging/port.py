"""The messaging port: what a driver promises, whichever broker it uses.

Delivery is at least once and unordered. A message may be delivered twice, even after it was acknowledged, so handlers
must be repeatable.

    MessagingError
      └─ BrokerUnavailable   the broker may or may not have the message; sending it again is safe

A transactional message is called a half message until it is resolved:

    in_transaction ──► the broker stores the half message ──► decide() ──► COMMIT: delivered, ROLLBACK: dropped
                                  │
                                  └─ no resolution for a while: a check-back asks the topic's checker, in any process
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from common.errors import Unavailable


class MessagingError(Unavailable):
    """The broker could not do what was asked of it."""

    reason = "BROKER_UNAVAILABLE"


class BrokerUnavailable(MessagingError):
    """The broker is unreachable, or its answer was lost."""


class Resolution(Enum):
    """What becomes of a half message."""

    COMMIT = "COMMIT"
    """Deliver it."""
    ROLLBACK = "ROLLBACK"
    """Drop it."""
    UNKNOWN = "UNKNOWN"
    """Not known yet: the broker sends a check-back later."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent.

    Attributes:
        topic: Without the environment's prefix, which the driver adds.
        key: What the message is about, such as the number of an invoice. It helps people to search, and need not be
            unique.
        body: Any bytes; JSON by convention.
    """

    topic: str
    key: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a handler gets.

    Attributes:
        message: What was sent.
        message_id: The broker's id of the message, the same on every attempt.
        attempt: 1 for the first attempt.
    """

    message: Message
    message_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message whose handler failed on every attempt.

    Attributes:
        id: What `replay` takes.
        message: What was sent.
        group: The consumer group whose handler failed.
        attempts: How often it was tried.
        error: The last failure, one line.
        dead_time: When it became a dead letter.
    """

    id: str
    message: Message
    group: str
    attempts: int
    error: str
    dead_time: datetime


Handler = Callable[[Delivery], None]
"""Handles a delivery. Returning acknowledges it; raising has it delivered again, after growing pauses."""

Decide = Callable[[], Resolution]
"""The local transaction that decides a half message."""

Confirm = Callable[[], None]
"""Returns once the broker has the message; raises `BrokerUnavailable` when it may not."""

Checker = Callable[[Message], Resolution]
"""Answers a check-back: what did the local transaction of this half message decide? A quick read of the database."""


class Broker(ABC):
    """A durable message broker, used from any number of threads.

    A topic carries either half messages or plain and delayed ones, never both.

    Life cycle: register handlers and checkers, `start`, and in the end `close`. Sending, listing dead letters and
    replaying need no `start`.
    """

    @abstractmethod
    def publish(self, message: Message) -> None:
        """Send a message for immediate delivery.

        Raises:
            BrokerUnavailable: The broker may or may not have it.
        """

    @abstractmethod
    def publish_later(self, message: Message, delay: timedelta) -> None:
        """Send a message for delivery after `delay`, of any length. It may be delivered late, but never early.

        Raises:
            BrokerUnavailable: The broker may or may not have it.
        """

    def begin_publish_later(self, message: Message, delay: timedelta) -> Confirm:
        """The same, but the caller waits for the broker later, and can do something else meanwhile.

        A driver that can't do both at once waits here.

        Returns:
            A function that waits for the broker. Until it has returned, the broker may not have the message.

        Raises:
            BrokerUnavailable: As the returned function.
        """
        self.publish_later(message, delay)
        return _confirmed

    @abstractmethod
    def in_transaction(self, message: Message, decide: Decide) -> Resolution:
        """Send a half message, run `decide`, and send its resolution to the broker.

        An exception of `decide` counts as UNKNOWN, and is raised again. The resolution need not have arrived when this
        returns. Losing it is no error: a check-back will ask for it.

        Returns:
            What `decide` returned.

        Raises:
            BrokerUnavailable: The half message could not be sent, and `decide` was not called. The broker may still
                have the message, and send check-backs for it.
        """

    @abstractmethod
    def subscribe(self, topic: str, group: str, handler: Handler) -> None:
        """Let `handler` handle the topic's messages, several at once. Each goes to one member of the group.

        Call it before `start`.

        Raises:
            ValueError: This broker has a handler for that topic and group already.
        """

    @abstractmethod
    def answer_check_backs(self, topic: str, checker: Checker) -> None:
        """Let `checker` answer the topic's check-backs, whichever process sent the half message.

        A checker that raises counts as UNKNOWN. Check-backs may also come for half messages that are resolved already.
        Call it before `start`.

        Raises:
            ValueError: This broker has a checker for that topic already.
        """

    def on_reachable(self, listener: Callable[[bool], None]) -> None:  # noqa: B027 - most drivers have nothing to tell
        """Call `listener` with False when the broker becomes unreachable, and with True when it is back.

        Until the first call it is reachable. Calls come from a thread of the driver; a driver whose broker is always
        reachable makes none. Register listeners before `start`.
        """

    @abstractmethod
    def start(self) -> None:
        """Begin to deliver messages and to answer check-backs.

        Raises:
            BrokerUnavailable: The broker is unreachable, or lacks a topic.
            UnusableEngine: Its configuration would break what this page promises.
        """

    @abstractmethod
    def dead_letters(self, topic: str, group: str, limit: int = 100) -> list[DeadLetter]:
        """List the dead letters of a group, oldest first."""

    @abstractmethod
    def replay(self, topic: str, group: str, dead_letter_id: str) -> None:
        """Deliver a dead letter to its group again, with all its attempts.

        Raises:
            KeyError: There is no such dead letter.
        """

    @abstractmethod
    def close(self) -> None:
        """Accept no new deliveries, wait for running handlers, and stop. Unhandled messages stay with the broker."""


def _confirmed() -> None:
    """Confirms a message that the broker has already."""
