"""Sends messages, each as the type that its topic takes; one producer for all threads of a process."""

import math
import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final

import structlog

from common.messaging.hops import Hop
from common.messaging.port import BrokerUnavailable, Decide, Message, MessagingError, Resolution
from common.messaging.rocketmq_client import Question, Sender, accepted, check, unavailable
from common.messaging.rocketmq_import import (
    ClientMessage,
    Code,
    IllegalArgumentException,
    MessageType,
    TransactionResolution,
    TransactionSource,
)
from common.messaging.rocketmq_messages import AT_ONCE, to_client

log = structlog.get_logger(__name__)

_ANSWERS: Final = {
    Resolution.COMMIT: TransactionResolution.COMMIT,
    Resolution.ROLLBACK: TransactionResolution.ROLLBACK,
}
_AT_ONCE: Final = (MessageType.DELAY, MessageType.NORMAL, MessageType.TRANSACTION)
_DELAYED: Final = (MessageType.DELAY,)
_HALF: Final = (MessageType.TRANSACTION,)


class Sending:
    """What sends. Topics are with their prefix here.

    Args:
        sender: The producer; raises `BrokerUnavailable` when there is none.
        failed: Is told when a call did not reach the broker.
    """

    def __init__(self, sender: Callable[[], Sender], failed: Callable[[], None]) -> None:
        self._sender = sender
        self._failed = failed
        self._kinds: dict[str, frozenset[int]] = {}

    def at_once(self, topic: str, message: Message, properties: Mapping[str, str]) -> None:
        """Send a message to be delivered at once, whatever type its topic takes.

        Raises:
            BrokerUnavailable: It may or may not have been taken.
        """
        kinds = self._accepted(topic, _AT_ONCE)
        if MessageType.NORMAL in kinds:
            self._send(to_client(topic, message, properties))
        elif MessageType.DELAY in kinds:
            self._send(to_client(topic, message, properties, AT_ONCE))
        else:
            half = self._half(topic, message, properties)
            self._end(half, Resolution.COMMIT, TransactionSource.SOURCE_CLIENT)

    def later(self, topic: str, message: Message, hop: Hop, properties: Mapping[str, str]) -> None:
        """Send a message on its next hop, or at once when that is no time at all.

        Raises:
            BrokerUnavailable: It may or may not have been taken.
        """
        more = {**properties, **hop.properties}
        if hop.delay <= timedelta(0):
            self.at_once(topic, message, more)
            return
        self._accepted(topic, _DELAYED)
        delivery = math.ceil(time.time() + hop.delay.total_seconds())  # the client knows whole seconds only
        self._send(to_client(topic, message, more, delivery))

    def in_transaction(self, topic: str, message: Message, decide: Decide) -> Resolution:
        """Send a half message, decide, and tell the broker; it asks when it was not told.

        Raises:
            BrokerUnavailable: The half message could not be sent.
        """
        half = self._half(topic, message, {})
        resolution = decide()
        if resolution in _ANSWERS:  # not UNKNOWN, and not what was returned by mistake: None must not drop a message
            try:
                self._end(half, resolution, TransactionSource.SOURCE_CLIENT)
            except MessagingError as error:
                log.warning("resolution not sent, the broker will ask", topic=message.topic, error=str(error))
        return resolution

    def answer(self, question: Question, resolution: Resolution) -> None:
        """Answer what the broker asked; UNKNOWN is no answer: it asks again.

        Raises:
            BrokerUnavailable: The answer did not reach it; it asks again.
        """
        if resolution in _ANSWERS:
            self._end(question, resolution, TransactionSource.SOURCE_SERVER_CHECK)

    def _half(self, topic: str, message: Message, properties: Mapping[str, str]) -> Question:
        self._accepted(topic, _HALF)
        half = to_client(topic, message, properties)
        sender = self._sender()
        receipt = self._called(lambda: sender.send(half, sender.begin_transaction()))
        return receipt.message_queue.endpoints, half, receipt.transaction_id

    def _end(self, half: Question, resolution: Resolution, source: int) -> None:
        endpoints, message, transaction = half
        answer = self._called(
            lambda: self._sender().end_transaction(endpoints, message, transaction, _ANSWERS[resolution], source)
        )
        if answer.status.code != Code.OK:
            raise BrokerUnavailable(f"RocketMQ: {answer.status.message}")

    def _send(self, message: ClientMessage) -> None:
        self._called(lambda: self._sender().send(message))

    def _called(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except MessagingError:
            raise
        except IllegalArgumentException as error:
            self._kinds.clear()  # a topic may have been made anew, of another type
            raise unavailable(error) from error
        except Exception as error:
            self._failed()
            raise unavailable(error) from error

    def _accepted(self, topic: str, kinds: tuple[int, ...]) -> frozenset[int]:
        """The types that a topic takes, looked up once.

        Raises:
            TopicUnusable: None of `kinds`.
        """
        known = self._kinds.get(topic)
        if known is None:
            known = self._called(lambda: accepted(self._sender(), topic))
        check(topic, known, kinds)
        self._kinds[topic] = known
        return known
