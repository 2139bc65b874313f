"""Messages of the port as the native client carries them, and back.

The binding hands a received body over as a C string, which ends at the first zero byte. A body with a zero byte
therefore travels as base64.
"""

from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from common.messaging.long_delays import DUE, FOR_GROUP, HOP_ENDS
from common.messaging.port import Message
from common.messaging.rocketmq.messages import A_KEY, BASE64, EMPTY, EMPTY_BODY, ID, KEY, TRY, restored
from common.plain_numbers import whole_number_or

_KEYS: Final = "KEYS"
_READ: Final = (KEY, EMPTY, BASE64, DUE, HOP_ENDS, FOR_GROUP, ID, TRY)
_OF_THE_BODY: Final = (KEY, EMPTY, BASE64)


@dataclass(frozen=True, slots=True)
class ReceivedMessage:
    """A message that the native client received.

    Attributes:
        message: As it was sent.
        message_id: The same on every attempt.
        attempt: 1 for the first.
        properties: What it carries when it is sent on.
    """

    message: Message
    message_id: str
    attempt: int
    properties: dict[str, str]


@contextmanager
def native_message(
    client: Any, topic: str, message: Message, properties: Mapping[str, str], level: int = 0
) -> Iterator[Any]:
    """The client's form of a message; its memory is freed at the end, which the binding forgets.

    Args:
        client: The binding.
        topic: With the prefix.
        message: What to send.
        properties: To be set on it.
        level: A delay level, from 1; 0: no delay.
    """
    made = client.Message(topic)
    try:
        body, more = message.body, dict(properties)
        if not body:
            body, more[EMPTY] = EMPTY_BODY, "1"
        elif b"\0" in body:
            body, more[BASE64] = b64encode(body), "1"
        if A_KEY.fullmatch(message.key):
            made.set_keys(message.key)
        elif message.key:
            more[KEY] = quote(message.key)
        client.dll.SetByteMessageBody(made, body, len(body))
        for name, value in more.items():
            made.set_property(name, value)
        if level:
            made.set_delay_time_level(level)
        yield made
    finally:
        client.dll.DestroyMessage(made)


def received_message(topic: str, received: Any) -> ReceivedMessage:
    """Read what the client received; `topic` is the port's name of the topic."""
    found = {name: received.get_property(name) for name in _READ}
    properties = {name: value.decode() for name, value in found.items() if value}
    key = (received.get_property(_KEYS) or b"").decode()
    sent_on = {name: value for name, value in properties.items() if name not in _OF_THE_BODY}
    message_id = sent_on.setdefault(ID, received.id)
    attempt = properties.get(TRY, "1")
    return ReceivedMessage(
        message=restored(topic, key, received.body or b"", properties),
        message_id=message_id,
        attempt=whole_number_or(attempt, 1),
        properties=sent_on,
    )
