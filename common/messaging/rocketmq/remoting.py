"""The few things that only RocketMQ's own protocol offers: creating a topic, and reading one without consuming it.

Dead letters are listed again and again. Over the proxy a message can only be received, which hides it from everybody
else. So they are read as RocketMQ's own tools do it: the name server names the broker, and the broker returns the
messages from an offset on.

A frame is: 4 bytes length of the rest, 4 bytes length of the header, the header (JSON), the body.
"""

import json
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from common.addresses import split_address
from common.messaging.port import BrokerUnavailable, MessagingError

TIMEOUT_S: Final = 3.0

_PULL: Final = 11
_MAKE_TOPIC: Final = 17
_BROKER_SETTINGS: Final = 26
_MIN_OFFSET: Final = 31
_ROUTE: Final = 105
_SUCCESS: Final = 0
_TOPIC_NOT_EXIST: Final = 17
_NOTHING_THERE: Final = frozenset((19, 20, 21))  # no message yet; ask again; the offset has moved
_READER: Final = "TOOLS_CONSUMER"  # the group of RocketMQ's own tools; every broker has it
_READ_AND_WRITE: Final = 6
_ON_EVERY_BROKER: Final = "SELF_TEST_TOPIC"  # RocketMQ's own
_WITH_SUBSCRIPTION: Final = 0x4
_IPV6_BORN_HOST: Final = 0x10
_IPV6_STORE_HOST: Final = 0x20
_LONG_TOPIC_NAME: Final = -626843477  # the magic number of messages whose topic's length has two bytes
_A_PAGE: Final = 32
_LARGEST_ANSWER: Final = 256 * 1024 * 1024
_UNREADABLE: Final = (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError, struct.error)
"""What reading an answer raises whose form is another one."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A server's answer: a code (0 is success), a remark, fields and a body."""

    code: int
    remark: str
    fields: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Queue:
    """One queue of a topic, and the `host:port` of its broker."""

    broker: str
    number: int


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """A message as a broker stores it.

    Attributes:
        offset: Its place in the queue; never reused.
        properties: The sender's and the broker's own.
        stored: When the broker stored it, by its clock.
    """

    offset: int
    body: bytes
    properties: dict[str, str]
    stored: datetime


class TopicMissing(MessagingError):
    """The topic does not exist."""


class Remoting:
    """One connection to a name server or broker, for one thread."""

    def __init__(self, address: str, connection: socket.socket) -> None:
        self.address = address
        self._connection = connection
        self._number = 0

    def ask(self, code: int, fields: dict[str, object], body: bytes = b"") -> Answer:
        """Send a request, and return the answer, whatever its code.

        Raises:
            BrokerUnavailable: There was no answer.
        """
        self._number += 1
        header = {
            "code": code,
            "language": "PYTHON",
            "version": 0,
            "opaque": self._number,
            "flag": 0,
            "extFields": {name: str(value) for name, value in fields.items()},
        }
        encoded = json.dumps(header).encode()
        try:
            self._connection.sendall(struct.pack(">ii", 4 + len(encoded) + len(body), len(encoded)) + encoded + body)
            return self._answer()
        except (OSError, *_UNREADABLE) as error:
            raise BrokerUnavailable(f"no answer from {self.address}: {error}") from error

    def _answer(self) -> Answer:
        size, header_size = struct.unpack(">ii", self._read(8))
        header_size &= 0xFFFFFF  # the highest byte is the header's encoding: 0 is JSON
        if not header_size <= size - 4 <= _LARGEST_ANSWER:
            raise ValueError("not a RocketMQ server")
        frame = self._read(size - 4)
        header: dict[str, Any] = json.loads(frame[:header_size])
        return Answer(
            header["code"], header.get("remark") or "", dict(header.get("extFields") or {}), frame[header_size:]
        )

    def _read(self, size: int) -> bytes:
        parts = bytearray()
        while len(parts) < size:
            part = self._connection.recv(min(size - len(parts), 1 << 20))
            if not part:
                raise ConnectionError("the connection was closed")
            parts += part
        return bytes(parts)


@contextmanager
def connected(address: str) -> Iterator[Remoting]:
    """Connect to a name server or broker.

    Raises:
        BrokerUnavailable: It can't be reached.
    """
    try:
        host, port = split_address(address)
        connection = socket.create_connection((host.strip("[]"), port), TIMEOUT_S)
    except (OSError, ValueError) as error:
        raise BrokerUnavailable(f"can't reach {address}: {error}") from error
    with connection:
        yield Remoting(address, connection)


@contextmanager
def _reading(server: str) -> Iterator[None]:
    """Read an answer; one of another form is an error of the port."""
    try:
        yield
    except _UNREADABLE as error:
        raise MessagingError(f"{server}: its answer can't be read") from error


def queues(nameserver: str, topic: str) -> list[Queue]:
    """Ask a name server for the queues of a topic.

    Raises:
        TopicMissing: No broker has it.
        BrokerUnavailable: The name server can't be reached.
        MessagingError: It refuses, or its answer can't be read.
    """
    with connected(nameserver) as server:
        answer = server.ask(_ROUTE, {"topic": topic, "acceptStandardJsonOnly": "true"})
    if answer.code == _TOPIC_NOT_EXIST:
        raise TopicMissing(f"there is no topic {topic!r}")
    if answer.code != _SUCCESS:
        raise MessagingError(f"name server {nameserver}: {answer.remark}")
    with _reading(f"name server {nameserver}"):
        route = json.loads(answer.body)
        masters = {each["brokerName"]: each["brokerAddrs"].get("0") for each in route["brokerDatas"]}
        return [
            Queue(masters[each["brokerName"]], number)
            for each in route["queueDatas"]
            for number in range(each["readQueueNums"])
            if masters.get(each["brokerName"])
        ]


def brokers_of(nameserver: str) -> list[str]:
    """Ask a name server for every broker: `host:port`.

    Raises:
        TopicMissing: No broker is registered.
        BrokerUnavailable: The name server can't be reached.
    """
    return sorted({queue.broker for queue in queues(nameserver, _ON_EVERY_BROKER)})


def make_topic(nameserver: str, topic: str, kind: str, number: int) -> None:
    """Create a topic on every broker; where it exists, nothing changes.

    Args:
        nameserver: `host:port`.
        topic: Its name.
        kind: The type of its messages: NORMAL, DELAY or TRANSACTION.
        number: How many queues it has on each broker.

    Raises:
        BrokerUnavailable: The name server or a broker can't be reached.
        MessagingError: A broker refuses.
    """
    for address in brokers_of(nameserver):
        with connected(address) as broker:
            answer = broker.ask(
                _MAKE_TOPIC,
                {
                    "topic": topic,
                    "defaultTopic": "TBW102",
                    "readQueueNums": number,
                    "writeQueueNums": number,
                    "perm": _READ_AND_WRITE,
                    "topicFilterType": "SINGLE_TAG",
                    "topicSysFlag": 0,
                    "order": "false",
                    "attributes": f"+message.type={kind}",
                },
            )
        if answer.code != _SUCCESS:
            raise MessagingError(f"broker {address} does not create topic {topic!r}: {answer.remark}")


def broker_settings(address: str) -> dict[str, str]:
    """Read all settings of a broker, by name.

    Args:
        address: `host:port` of the broker.

    Raises:
        BrokerUnavailable: It can't be reached.
        MessagingError: It refuses, or its answer can't be read.
    """
    with connected(address) as broker:
        answer = broker.ask(_BROKER_SETTINGS, {})
    if answer.code != _SUCCESS:
        raise MessagingError(f"broker {address} does not show its settings: {answer.remark}")
    with _reading(f"broker {address}"):
        lines = answer.body.decode().splitlines()
    return {name.strip(): value.strip() for name, _, value in (line.partition("=") for line in lines) if value}


def read_queue(broker: Remoting, topic: str, number: int, start: int | None = None) -> Iterator[StoredMessage]:
    """Read a queue from an offset (None: its first message) to its end, without consuming it.

    Raises:
        BrokerUnavailable: The broker does not answer.
        MessagingError: It refuses, or its answer can't be read.
    """
    reading = partial(_reading, f"broker {broker.address}")
    if start is None:
        answer = broker.ask(_MIN_OFFSET, {"topic": topic, "queueId": number})
        with reading():
            start = int(answer.fields.get("offset", 0))
    while True:
        answer = broker.ask(
            _PULL,
            {
                "consumerGroup": _READER,
                "topic": topic,
                "queueId": number,
                "queueOffset": start,
                "maxMsgNums": _A_PAGE,
                "sysFlag": _WITH_SUBSCRIPTION,
                "commitOffset": 0,
                "suspendTimeoutMillis": 0,
                "subscription": "*",
                "subVersion": 0,
                "expressionType": "TAG",
            },
        )
        if answer.code in _NOTHING_THERE:
            return
        if answer.code != _SUCCESS:
            raise MessagingError(f"broker {broker.address}: {answer.remark}")
        with reading():
            messages, start = list(_messages(answer.body)), int(answer.fields["nextBeginOffset"])
        yield from messages


def _messages(page: bytes) -> Iterator[StoredMessage]:
    at = 0
    while at < len(page):
        (size,) = struct.unpack_from(">i", page, at)
        yield _message(page[at : at + size])
        at += size


def _message(record: bytes) -> StoredMessage:
    """One message of the broker's log; `MessageDecoder` in RocketMQ's sources defines the layout."""
    (magic,) = struct.unpack_from(">i", record, 4)
    offset, _, system_flags = struct.unpack_from(">qqi", record, 20)
    at = 40 + 8 + (20 if system_flags & _IPV6_BORN_HOST else 8)  # after the time it was made, and the host
    (stored,) = struct.unpack_from(">q", record, at)
    at += 8 + (20 if system_flags & _IPV6_STORE_HOST else 8) + 4 + 8  # its host; tries; the half message's offset
    (size,) = struct.unpack_from(">i", record, at)
    body = record[at + 4 : at + 4 + size]
    at += 4 + size
    length = ">h" if magic == _LONG_TOPIC_NAME else ">b"
    (size,) = struct.unpack_from(length, record, at)
    at += struct.calcsize(length) + size
    (size,) = struct.unpack_from(">h", record, at)
    pairs = record[at + 2 : at + 2 + size].decode().split("\x02")
    properties = dict(pair.split("\x01", 1) for pair in pairs if "\x01" in pair)
    return StoredMessage(offset, body, properties, datetime.fromtimestamp(stored / 1000, UTC))
