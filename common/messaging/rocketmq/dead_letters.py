"""Dead letters: messages in the topic in which RocketMQ itself keeps those of a consumer group, `%DLQ%` and its name.

So RocketMQ's own tools show them. The topic is a log, from which nothing is taken: a letter that is replayed is
followed by a note that says so, and no longer listed. What the broker itself put there (it gives up after 17
deliveries, when no handler ever came to an end) is a dead letter as well. Old ones go when the broker's retention
(`fileReservedTime`) ends.
"""

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from common.messaging.port import DeadLetter, Message
from common.messaging.rocketmq.messages import BASE64, EMPTY, KEY, TRY, restored
from common.messaging.rocketmq.remoting import Stored, TopicMissing, connected, make_topic, queues, read_queue

ATTEMPTS: Final = "reback_attempts"
"""The property that tells how often a dead letter was tried."""
ERROR: Final = "reback_error"
"""The property with its last failure."""
REPLAYED: Final = "reback_replayed"
"""The property of a note: the id of the letter that was replayed."""

GIVEN_UP_BY_THE_BROKER: Final = "RocketMQ gave up: no attempt was ever reported as finished"

_PATIENCE_S: Final = 5.0  # a broker tells the name server at once
_POLL_S: Final = 0.02
_QUEUES: Final = 1  # so that the oldest is the first
_TRIES_OF_THE_BROKER: Final = "RECONSUME_TIME"
_UNIQUE_ID: Final = "UNIQ_KEY"
_KEYS: Final = "KEYS"
_NOT_SENT_ON: Final = frozenset({KEY, EMPTY, BASE64, TRY, ATTEMPTS, ERROR})
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def dead_letter_topic(consumer_group: str) -> str:
    return f"%DLQ%{consumer_group}"


def dead_letter_properties(attempts: int, error: str) -> dict[str, str]:
    """The properties of a dead letter."""
    return {ATTEMPTS: str(attempts), ERROR: _CONTROL.sub("?", error) or "?"}


def note_of_replay(letter: DeadLetter) -> tuple[Message, dict[str, str]]:
    """The note that takes a letter off the list, and its properties."""
    return Message(letter.message.topic, letter.message.key, b"replayed"), {REPLAYED: letter.id}


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter, and what is needed to send it again."""

    letter: DeadLetter
    properties: Mapping[str, str]


class DeadLetters:
    """Reads the dead letters of a cluster.

    Args:
        nameserver: `host:port`.
    """

    def __init__(self, nameserver: str) -> None:
        self._nameserver = nameserver

    def ensure_topic(self, consumer_group: str) -> None:
        """Make the topic for a group's dead letters if it is not there, as a broker does when it has the first one.

        Raises:
            MessagingError: It can't be made.
        """
        topic = dead_letter_topic(consumer_group)
        if not self._has(topic):
            make_topic(self._nameserver, topic, "NORMAL", _QUEUES)
            give_up = time.monotonic() + _PATIENCE_S
            while not self._has(topic) and time.monotonic() < give_up:
                time.sleep(_POLL_S)

    def _has(self, topic: str) -> bool:
        try:
            return bool(queues(self._nameserver, topic))
        except TopicMissing:
            return False

    def all(self, topic: str, group: str, consumer_group: str) -> list[Letter]:
        """The dead letters of a group that were not replayed, oldest first.

        Raises:
            BrokerUnavailable: The name server or the broker can't be reached.
        """
        letters: dict[str, Stored] = {}
        replayed: set[str] = set()
        for stored in self._stored(dead_letter_topic(consumer_group)):
            if REPLAYED in stored.properties:
                replayed.add(stored.properties[REPLAYED])
            else:
                letters.setdefault(stored.properties[_UNIQUE_ID], stored)  # one that was sent twice is one
        left = [(letter_id, stored) for letter_id, stored in letters.items() if letter_id not in replayed]
        left.sort(key=lambda each: each[1].stored)
        return [_letter(topic, group, letter_id, stored) for letter_id, stored in left]

    def _stored(self, topic: str) -> Iterator[Stored]:
        try:
            places = queues(self._nameserver, topic)
        except TopicMissing:
            return  # nothing ever died here
        for place in places:
            with connected(place.broker) as broker:
                yield from read_queue(broker, topic, place.number)


def _letter(topic: str, group: str, letter_id: str, stored: Stored) -> Letter:
    properties = stored.properties
    attempts = properties.get(ATTEMPTS) or str(int(properties.get(_TRIES_OF_THE_BROKER, "0")) + 1)
    letter = DeadLetter(
        id=letter_id,
        message=restored(topic, properties.get(_KEYS, ""), stored.body, properties),
        group=group,
        attempts=int(attempts),
        error=properties.get(ERROR, GIVEN_UP_BY_THE_BROKER),
        dead_time=stored.stored,
    )
    sent_on = {name: value for name, value in properties.items() if name.startswith("reback_")}
    return Letter(letter, {name: value for name, value in sent_on.items() if name not in _NOT_SENT_ON})
