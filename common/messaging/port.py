"""The messaging port. It promises what RocketMQ promises: at least once, in any order.

    MessagingError
      └─ BrokerUnavailable   the message may or may not have been taken; safe to send again

Consumers must be repeatable: a message may come twice, and one that was acknowledged may come again.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum

from common.errors import Unavailable


class MessagingError(Unavailable):
    """The broker could not do what was asked."""

    reason = "BROKER_UNAVAILABLE"


class BrokerUnavailable(MessagingError):
    """The broker is out of reach, or its answer was lost."""


class Resolution(Enum):
    """What becomes of a half message."""

    COMMIT = "COMMIT"
    """Deliver it."""
    ROLLBACK = "ROLLBACK"
    """Drop it."""
    UNKNOWN = "UNKNOWN"
    """Not known yet: the broker asks back later."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent.

    Attributes:
        topic: Without the environment's prefix; the driver adds it.
        key: What the message is about, e.g. an order_sn; for people who search, not for uniqueness.
        body: Any bytes; JSON by custom.
    """

    topic: str
    key: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a handler gets.

    Attributes:
        message: What was sent.
        message_id: The broker's id, the same on every attempt.
        attempt: 1 for the first try.
    """

    message: Message
    message_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message whose handler failed as often as is allowed.

    Attributes:
        id: What `replay` takes.
        message: What was sent.
        group: The consumer group that failed.
        attempts: How often it was tried.
        error: The last failure, one line.
        dead_time: When it was given up.
    """

    id: str
    message: Message
    group: str
    attempts: int
    error: str
    dead_time: datetime


Handler = Callable[[Delivery], None]
"""Handles one delivery. Returning acknowledges it; raising brings it again, later and later."""

Decide = Callable[[], Resolution]
"""The local transaction of a half message."""

Confirm = Callable[[], None]
"""Returns when the broker has taken a message; raises `BrokerUnavailable` when it may or may not have."""

Checker = Callable[[Message], Resolution]
"""Answers what became of a half message whose sender went silent: a quick read of the local database."""


class Broker(ABC):
    """A durable message broker.

    A topic carries either transactional messages or delayed and plain ones, never both.
    """

    @abstractmethod
    def publish(self, message: Message) -> None:
        """Send a message to be delivered at once.

        Raises:
            BrokerUnavailable: It may or may not have been taken.
        """

    @abstractmethod
    def publish_later(self, message: Message, delay: timedelta) -> None:
        """Send a message to be delivered when `delay` has passed: perhaps late, never early. Any length.

        Raises:
            BrokerUnavailable: It may or may not have been taken.
        """

    def begin_publish_later(self, message: Message, delay: timedelta) -> Confirm:
        """The same, while the caller does something else; a driver that can't do both waits here.

        Returns:
            What to call to know that the broker has the message. Who does not call it may not rely on it.

        Raises:
            BrokerUnavailable: As what is returned.
        """
        self.publish_later(message, delay)
        return _confirmed

    @abstractmethod
    def in_transaction(self, message: Message, decide: Decide) -> Resolution:
        """Send a half message, run `decide`, and tell the broker its resolution.

        An exception of `decide` counts as UNKNOWN and is raised again. The resolution is on its way when this returns;
        one that does not reach the broker is no error: it will ask back.

        Returns:
            What `decide` returned.

        Raises:
            BrokerUnavailable: The half message could not be sent; `decide` was not called. The broker may still
                have it, and ask back.
        """

    @abstractmethod
    def subscribe(self, topic: str, group: str, handler: Handler) -> None:
        """Deliver the topic's messages to `handler`, each to one member of the group, several at once.

        Call it before `start`.
        """

    @abstractmethod
    def answer_check_backs(self, topic: str, checker: Checker) -> None:
        """Let `checker` answer for the topic's half messages, no matter which process sent them.

        Call it before `start`. A checker that raises counts as UNKNOWN.
        """

    def on_reachable(self, listener: Callable[[bool], None]) -> None:  # noqa: B027 - most have nothing to tell
        """Let `listener` be told when the broker is cut off (False), and when it is back (True).

        It is reachable until something else is told. Told from a thread of the driver's; a broker that can't be cut off
        tells nothing. Call it before `start`.
        """

    @abstractmethod
    def start(self) -> None:
        """Begin to deliver and to answer."""

    @abstractmethod
    def dead_letters(self, topic: str, group: str, limit: int = 100) -> list[DeadLetter]:
        """List the dead letters of a group, oldest first."""

    @abstractmethod
    def replay(self, topic: str, group: str, dead_letter_id: str) -> None:
        """Deliver a dead letter again, with all its tries.

        Raises:
            KeyError: There is no such dead letter.
        """

    @abstractmethod
    def close(self) -> None:
        """Take no new deliveries, let running handlers finish, stop. Unhandled messages stay with the broker."""


def _confirmed() -> None:
    """Of what was taken before anybody asked."""
