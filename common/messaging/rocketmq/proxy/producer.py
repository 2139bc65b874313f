"""Sends messages, each as the type that its topic takes; one producer for all threads of a process."""

import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from datetime import timedelta
from typing import Any, Final

import structlog

from common.messaging.long_delays import Hop
from common.messaging.port import BrokerUnavailable, Confirm, Decide, Message, MessagingError, Resolution
from common.messaging.rocketmq.messages import AT_ONCE, to_client
from common.messaging.rocketmq.proxy.client import Question, Sender, accepted, check, unavailable
from common.messaging.rocketmq.sdk import (
    ClientMessage,
    Code,
    IllegalArgumentException,
    MessageType,
    TransactionResolution,
    TransactionSource,
)

log = structlog.get_logger(__name__)

_ANSWERS: Final = {
    Resolution.COMMIT: TransactionResolution.COMMIT,
    Resolution.ROLLBACK: TransactionResolution.ROLLBACK,
}
_SENDS: Final = 3  # the client's own tries
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
        self._ending: set[Future[Any]] = set()

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
        if hop.delay <= timedelta(0):
            self.at_once(topic, message, {**properties, **hop.properties})
        else:
            self._send(self._delayed(topic, message, hop, properties))

    def begin_later(self, topic: str, message: Message, hop: Hop) -> Confirm:
        """The same without waiting for the broker.

        Raises:
            BrokerUnavailable: It may or may not have been taken; so raises what is returned.
        """
        delayed = self._delayed(topic, message, hop, {})
        sender = self._sender()
        sent = self._called(lambda: sender.send_async(delayed))
        patience = (_SENDS + 1) * sender.client_configuration.request_timeout  # one that is stopped may never tell

        def confirm() -> None:
            self._called(lambda: sent.result(patience))

        return confirm

    def _delayed(self, topic: str, message: Message, hop: Hop, properties: Mapping[str, str]) -> ClientMessage:
        self._accepted(topic, _DELAYED)
        delivery = math.ceil(time.time() + hop.delay.total_seconds())  # the client knows whole seconds only
        return to_client(topic, message, {**properties, **hop.properties}, delivery)

    def in_transaction(self, topic: str, message: Message, decide: Decide) -> Resolution:
        """Send a half message, decide, and tell the broker; it asks when it was not told.

        Raises:
            BrokerUnavailable: The half message could not be sent.
        """
        half = self._half(topic, message, {})
        resolution = decide()
        if resolution in _ANSWERS:  # not UNKNOWN, and not what was returned by mistake: None must not drop a message
            try:
                self._begin_end(half, resolution)
            except MessagingError as error:
                _not_resolved(half, error)
        return resolution

    def finish(self, patience: float) -> None:
        """Wait for resolutions that are on their way, no longer than `patience` seconds."""
        wait(list(self._ending), patience)

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
        answer = self._called(self._called(lambda: self._sender().end(half, _ANSWERS[resolution], source)).result)
        if answer.status.code != Code.OK:
            raise BrokerUnavailable(f"RocketMQ: {answer.status.message}")

    def _begin_end(self, half: Question, resolution: Resolution) -> None:
        """Tell a resolution without waiting: the order is decided, and a resolution that is lost is asked for.

        As many are on their way as half messages were just taken, so there is no queue that could grow.
        """
        ending = self._called(lambda: self._sender().end(half, _ANSWERS[resolution], TransactionSource.SOURCE_CLIENT))
        self._ending.add(ending)

        def ended(answered: "Future[Any]") -> None:
            self._ending.discard(answered)
            error = answered.exception()
            if error is not None:
                self._failed()
                _not_resolved(half, unavailable(error))
            elif answered.result().status.code != Code.OK:
                _not_resolved(half, BrokerUnavailable(f"RocketMQ: {answered.result().status.message}"))

        ending.add_done_callback(ended)

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


def _not_resolved(half: Question, error: MessagingError) -> None:
    log.warning("resolution not sent, the broker will ask", topic=half[1].topic, error=str(error))
