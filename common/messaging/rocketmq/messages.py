"""Converts the port's messages to RocketMQ's, and back.

RocketMQ accepts no empty body, no empty key, and no key with spaces or control characters. Properties carry what it
does not accept.
"""

import re
from base64 import b64decode
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, unquote

from common.messaging.port import Message
from common.messaging.rocketmq.sdk import ClientMessage

KEY: Final = "reback_key"
"""The property with the key, quoted as in a URL, if RocketMQ does not accept it as a key."""
EMPTY: Final = "reback_empty"
"""The property of a message whose body is empty."""
BASE64: Final = "reback_base64"
"""The property of a message whose body is base64; the native client sends bodies with a zero byte so."""
ID: Final = "reback_id"
"""The property with the original id of a message that was sent on."""
TRY: Final = "reback_try"
"""The property with the number of the attempt that the native driver sends a message on for; absent: the first."""

AT_ONCE: Final = 1
"""A delivery time that has passed by any clock, in seconds since 1970."""

EMPTY_BODY: Final = b"\0"
A_KEY: Final = re.compile(r"[^\s\x00-\x1f\x7f-\x9f]+")


def to_client(
    topic: str, message: Message, properties: Mapping[str, str], delivery: int | None = None
) -> ClientMessage:
    """The client's form of a message.

    Args:
        topic: With the prefix.
        message: What to send.
        properties: To be set on it.
        delivery: When to deliver, in seconds since 1970; None: it is not a delayed message.
    """
    made = ClientMessage()
    made.topic = topic
    made.body = message.body or EMPTY_BODY
    more = dict(properties)
    if A_KEY.fullmatch(message.key):
        made.keys = message.key
    elif message.key:
        more[KEY] = quote(message.key)
    if not message.body:
        more[EMPTY] = "1"
    for name, value in more.items():
        made.add_property(name, value)
    if delivery is not None:
        made.delivery_timestamp = delivery
    return made


def to_port(topic: str, received: ClientMessage) -> Message:
    """The message as it was sent; `topic` is the port's name of the topic."""
    return restored(topic, next(iter(received.keys), ""), received.body, received.properties)


def restored(topic: str, key: str, body: bytes, properties: Mapping[str, str]) -> Message:
    """The message as it was sent, from the parts that a broker keeps."""
    if KEY in properties:
        key = unquote(properties[KEY])
    if BASE64 in properties:
        body = b64decode(body)
    return Message(topic, key, b"" if EMPTY in properties else body)


def forwarded_properties(received: ClientMessage) -> dict[str, str]:
    """The properties that a message keeps when it is sent on."""
    properties = {name: value for name, value in received.properties.items() if name not in {KEY, EMPTY, BASE64}}
    return {ID: received.message_id} | properties


def original_id(received: ClientMessage) -> str:
    return str(received.properties.get(ID, received.message_id))
