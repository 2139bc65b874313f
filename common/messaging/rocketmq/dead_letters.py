"""Dead letters, in the topic where RocketMQ itself keeps those of a consumer group: `%DLQ%` and the group's name.

So RocketMQ's own tools show them. The topic is a log that nothing is removed from: replaying a dead letter appends a
note that names it, and then it is no longer listed. Messages that the broker itself put there are dead letters as well;
it gives up after 17 deliveries of which none was reported as finished. Old dead letters go when the broker's retention
(`fileReservedTime`) ends.
"""

import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from common.messaging.port import DeadLetter, Message
from common.messaging.rocketmq.messages import BASE64, EMPTY, KEY, TRY, restored
from common.messaging.rocketmq.remoting import StoredMessage, TopicMissing, connected, make_topic, queues, read_queue
from common.plain_numbers import whole_number_or

ATTEMPTS: Final = "reback_attempts"
"""The property with the number of attempts."""
ERROR: Final = "reback_error"
"""The property with its last failure."""
REPLAYED: Final = "reback_replayed"
"""The property of a note: the id of the dead letter that was replayed."""

GIVEN_UP_BY_BROKER: Final = "RocketMQ gave up: no attempt was ever reported as finished"

_TIMEOUT_S: Final = 5.0  # a broker registers a new topic at once
_POLL_S: Final = 0.02
_QUEUES: Final = 1  # keeps them in order
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


def replay_note(letter: DeadLetter) -> tuple[Message, dict[str, str]]:
    """The note that removes a dead letter from the list, and the note's properties."""
    return Message(letter.message.topic, letter.message.key, b"replayed"), {REPLAYED: letter.id}


@dataclass(frozen=True, slots=True)
class StoredDeadLetter:
    """A dead letter, and the properties to replay it with."""

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
        """Create the topic for a group's dead letters unless it exists, as a broker does for the first one.

        Raises:
            MessagingError: It can't be created.
        """
        topic = dead_letter_topic(consumer_group)
        if not self._has(topic):
            make_topic(self._nameserver, topic, "NORMAL", _QUEUES)
            give_up = time.monotonic() + _TIMEOUT_S
            while not self._has(topic) and time.monotonic() < give_up:
                time.sleep(_POLL_S)

    def _has(self, topic: str) -> bool:
        try:
            return bool(queues(self._nameserver, topic))
        except TopicMissing:
            return False

    def all(self, topic: str, group: str, consumer_group: str) -> list[StoredDeadLetter]:
        """The dead letters of a group that were not replayed, oldest first.

        Raises:
            BrokerUnavailable: The name server or the broker can't be reached.
        """
        letters: dict[str, StoredMessage] = {}
        replayed: set[str] = set()
        for stored in self._stored(dead_letter_topic(consumer_group)):
            if REPLAYED in stored.properties:
                replayed.add(stored.properties[REPLAYED])
            else:
                letters.setdefault(stored.properties[_UNIQUE_ID], stored)  # one that was sent twice counts once
        left = [(letter_id, stored) for letter_id, stored in letters.items() if letter_id not in replayed]
        left.sort(key=lambda each: each[1].stored)
        return [_letter(topic, group, letter_id, stored) for letter_id, stored in left]

    def _stored(self, topic: str) -> Iterator[StoredMessage]:
        try:
            places = queues(self._nameserver, topic)
        except TopicMissing:
            return  # there never was a dead letter
        for place in places:
            with connected(place.broker) as broker:
                yield from read_queue(broker, topic, place.number)


def attempts_of(properties: Mapping[str, str]) -> int:
    """How often a dead letter was tried, by its own word or the broker's; 1 where neither is a number."""
    return whole_number_or(properties.get(ATTEMPTS, ""), 0) or (
        whole_number_or(properties.get(_TRIES_OF_THE_BROKER, ""), 0) + 1
    )


def _letter(topic: str, group: str, letter_id: str, stored: StoredMessage) -> StoredDeadLetter:
    properties = stored.properties
    letter = DeadLetter(
        id=letter_id,
        message=restored(topic, properties.get(_KEYS, ""), stored.body, properties),
        group=group,
        attempts=attempts_of(properties),
        error=properties.get(ERROR, GIVEN_UP_BY_BROKER),
        dead_time=stored.stored,
    )
    sent_on = {name: value for name, value in properties.items() if name.startswith("reback_")}
    return StoredDeadLetter(letter, {name: value for name, value in sent_on.items() if name not in _NOT_SENT_ON})
