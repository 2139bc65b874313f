"""Stands for `rocketmq.client`, the binding of the native client, where there is no librocketmq."""

from collections.abc import Callable
from enum import Enum
from threading import Lock
from types import SimpleNamespace
from typing import Any


class SendStatus(Enum):
    OK = 0
    FLUSH_DISK_TIMEOUT = 1


class TransactionStatus(Enum):
    COMMIT = 0
    ROLLBACK = 1
    UNKNOWN = 2


class NativeMessage:
    def __init__(self, topic: str) -> None:
        self.topic = topic
        self.body = b""
        self.level = 0
        self.properties: dict[str, str] = {}
        self.destroyed = 0

    def set_keys(self, key: str) -> None:
        self.properties["KEYS"] = key

    def set_property(self, name: str, value: str) -> None:
        self.properties[name] = value

    def set_delay_time_level(self, level: int) -> None:
        self.level = level

    # What the binding shows of a message that was received; its body ends at the first zero byte.

    id = "the id"

    def get_property(self, name: str) -> bytes:
        return self.properties.get(name, "").encode()

    def as_received(self) -> "NativeMessage":
        received = NativeMessage(self.topic)
        received.body = self.body.partition(b"\0")[0]
        received.properties = self.properties
        return received


class Binding:
    """The module; `answer` is what becomes of each message that is sent: it may raise.

    Attributes:
        sent: All messages that were sent.
        statuses: What the local transactions told.
    """

    SendStatus = SendStatus
    TransactionStatus = TransactionStatus

    def __init__(self) -> None:
        self.sent: list[NativeMessage] = []
        self.statuses: list[object] = []
        self.producers: list[FakeProducer] = []
        self.answer: Callable[[NativeMessage], Enum] = lambda _: SendStatus.OK
        self.dll = SimpleNamespace(
            SetByteMessageBody=self._set_body,
            DestroyMessage=self._destroy,
            SetProducerInstanceName=lambda *_: None,
            SetProducerCompressMsgBodyOverHowmuch=lambda *_: None,
        )
        self._made: list[NativeMessage] = []
        self._lock = Lock()

    @property
    def leaked(self) -> int:
        return sum(each.destroyed != 1 for each in self._made)

    def Message(self, topic: str) -> NativeMessage:  # noqa: N802 - the binding's name
        made = NativeMessage(topic)
        self._made.append(made)
        return made

    def Producer(self, group: str) -> "FakeProducer":  # noqa: N802 - the binding's name
        return FakeProducer(self, group, None)

    def TransactionMQProducer(self, group: str, checker: Callable[[Any], Any]) -> "FakeProducer":  # noqa: N802 - as above
        return FakeProducer(self, group, checker)

    def take(self, message: NativeMessage) -> object:
        status = self.answer(message)
        with self._lock:
            self.sent.append(message)
        return status

    def _set_body(self, message: NativeMessage, body: bytes, length: int) -> None:
        message.body = body[:length]

    def _destroy(self, message: NativeMessage) -> None:
        message.destroyed += 1


class FakeProducer:
    def __init__(self, binding: Binding, group: str, checker: Callable[[Any], Any] | None) -> None:
        self.group = group
        self.checker = checker
        self.running = False
        self._handle = 1
        self._binding = binding
        binding.producers.append(self)

    def set_name_server_address(self, address: str) -> None:
        self.address = address

    def set_timeout(self, milliseconds: int) -> None:
        self.timeout = milliseconds

    def set_max_message_size(self, size: int) -> None:
        self.largest = size

    def start(self) -> None:
        self.running = True

    def shutdown(self) -> None:
        self.running = False

    def send_sync(self, message: NativeMessage) -> Any:
        return SimpleNamespace(status=self._binding.take(message))

    def send_message_in_transaction(self, message: NativeMessage, execute: Callable[[Any, Any], Any]) -> None:
        if self._binding.take(message) is SendStatus.OK:
            self._binding.statuses.append(execute(message, None))
