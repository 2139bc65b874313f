"""How an environment's topics, groups and dead letters are named in RocketMQ; both clients use the same names.

    topic `t`                       {prefix}t
    group `g` of topic `t`          {prefix}t-g, a consumer group of this topic alone: RocketMQ wants all members of a
                                    group to have the same topics
    dead letters of that group      %DLQ%{prefix}t-g

Topics are typed and created by an operator: TRANSACTION for half messages, DELAY for plain and delayed ones. Only the
topics of dead letters are created here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from common.messaging.long_delays import FOR_GROUP
from common.messaging.port import DeadLetter, Handler, Message, MessagingError
from common.messaging.rocketmq.dead_letters import DeadLetters, dead_letter_topic, replay_note

log = structlog.get_logger(__name__)

Send = Callable[[str, Message, Mapping[str, str]], None]
"""Sends a message to a topic (with its prefix) at once, with these properties."""


@dataclass(frozen=True, slots=True)
class Subscription:
    """One handler, and RocketMQ's names of what it listens to.

    Attributes:
        topic: The port's name of the topic.
        group: The port's name of the group.
        handler: Handles its messages.
        full_topic: The topic with its prefix.
        consumer_group: RocketMQ's name of the group.
        dead_letter_topic: Where the group's dead letters are.
    """

    topic: str
    group: str
    handler: Handler
    full_topic: str
    consumer_group: str
    dead_letter_topic: str


class Topology:
    """See the module.

    Args:
        prefix: The environment's; may be empty.
        nameserver: `host:port`; it is asked for the topics of dead letters.
    """

    def __init__(self, prefix: str, nameserver: str) -> None:
        self._prefix = prefix
        self._dead_letters = DeadLetters(nameserver)

    def full_topic(self, topic: str) -> str:
        """RocketMQ's name of a topic."""
        return self._prefix + topic

    def port_topic(self, full_topic: str) -> str:
        """The port's name of a topic."""
        return full_topic.removeprefix(self._prefix)

    def consumer_group(self, topic: str, group: str) -> str:
        """RocketMQ's name of a group."""
        return f"{self._prefix}{topic}-{group}"

    def subscription(self, topic: str, group: str, handler: Handler) -> Subscription:
        consumer_group = self.consumer_group(topic, group)
        return Subscription(
            topic, group, handler, self.full_topic(topic), consumer_group, dead_letter_topic(consumer_group)
        )

    def ensure_dead_letter_topic(self, consumer_group: str) -> None:
        """Create the topic of a group's dead letters unless it exists; a failure is logged.

        RocketMQ creates this topic itself when it gives up the group's first message, so no operator expects to have
        to do it.
        """
        try:
            self._dead_letters.ensure_topic(consumer_group)
        except MessagingError as error:
            log.warning("can't create the topic for dead letters", group=consumer_group, error=str(error))

    def dead_letters(self, topic: str, group: str, limit: int) -> list[DeadLetter]:
        """As `Broker.dead_letters`."""
        letters = self._dead_letters.all(topic, group, self.consumer_group(topic, group))
        return [each.letter for each in letters[:limit]]

    def replay(self, topic: str, group: str, dead_letter_id: str, send: Send) -> None:
        """As `Broker.replay`, by means of `send`.

        A crash between the two messages leaves the dead letter on the list: it can be replayed twice, but not be lost.
        """
        consumer_group = self.consumer_group(topic, group)
        letters = self._dead_letters.all(topic, group, consumer_group)
        found = next((each for each in letters if each.letter.id == dead_letter_id), None)
        if found is None:
            raise KeyError(f"no dead letter {dead_letter_id!r} of {group!r} in {topic!r}")
        send(self.full_topic(topic), found.letter.message, {**found.properties, FOR_GROUP: group})
        note, properties = replay_note(found.letter)
        send(dead_letter_topic(consumer_group), note, properties)
