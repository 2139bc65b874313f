"""Sends messages, each as a type that its topic accepts; all threads of a process share one producer."""

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
from common.messaging.rocketmq.proxy.client import HalfMessage, ProducerClient, accepted, check, unavailable
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


class Producer:
    """See the module. Topics have their prefix here.

    Args:
        client: Returns the current client; raises `BrokerUnavailable` when there is none.
        on_failure: Called when a call did not reach the broker.
    """

    def __init__(self, client: Callable[[], ProducerClient], on_failure: Callable[[], None]) -> None:
        self._client = client
        self._on_failure = on_failure
        self._kinds: dict[str, frozenset[int]] = {}
        self._ending: set[Future[Any]] = set()

    def send(self, topic: str, message: Message, properties: Mapping[str, str]) -> None:
        """Send a message to be delivered at once, whatever type its topic accepts.

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

    def send_later(self, topic: str, message: Message, hop: Hop, properties: Mapping[str, str]) -> None:
        """Send a message to be held for a hop; a hop of no time is sent at once.

        Raises:
            BrokerUnavailable: It may or may not have been taken.
        """
        if hop.delay <= timedelta(0):
            self.send(topic, message, {**properties, **hop.properties})
        else:
            self._send(self._delayed(topic, message, hop, properties))

    def begin_send_later(self, topic: str, message: Message, hop: Hop) -> Confirm:
        """The same without waiting for the broker's answer.

        Returns:
            Waits for the answer; raises as this does.

        Raises:
            BrokerUnavailable: It may or may not have been taken.
        """
        delayed = self._delayed(topic, message, hop, {})
        client = self._client()
        sent = self._called(lambda: client.send_async(delayed))
        timeout = (
            _SENDS + 1
        ) * client.client_configuration.request_timeout  # a client that is stopped may never answer

        def confirm() -> None:
            self._called(lambda: sent.result(timeout))

        return confirm

    def _delayed(self, topic: str, message: Message, hop: Hop, properties: Mapping[str, str]) -> ClientMessage:
        self._accepted(topic, _DELAYED)
        delivery = math.ceil(time.time() + hop.delay.total_seconds())  # the client knows only whole seconds
        return to_client(topic, message, {**properties, **hop.properties}, delivery)

    def in_transaction(self, topic: str, message: Message, decide: Decide) -> Resolution:
        """Send a half message, decide, and send the resolution; if it is lost, a check-back asks for it.

        Raises:
            BrokerUnavailable: The half message could not be sent.
        """
        half = self._half(topic, message, {})
        resolution = decide()
        if resolution in _ANSWERS:  # neither UNKNOWN nor a mistake: a None must not drop a message
            try:
                self._begin_end(half, resolution)
            except MessagingError as error:
                _not_resolved(half, error)
        return resolution

    def wait_for_resolutions(self, timeout: float) -> None:
        """Wait for resolutions that are on their way, at most `timeout` seconds."""
        wait(list(self._ending), timeout)

    def answer_check_back(self, half: HalfMessage, resolution: Resolution) -> None:
        """Answer a check-back. UNKNOWN sends nothing: the broker will repeat it.

        Raises:
            BrokerUnavailable: The answer did not reach the broker, which will repeat the check-back.
        """
        if resolution in _ANSWERS:
            self._end(half, resolution, TransactionSource.SOURCE_SERVER_CHECK)

    def _half(self, topic: str, message: Message, properties: Mapping[str, str]) -> HalfMessage:
        self._accepted(topic, _HALF)
        half = to_client(topic, message, properties)
        client = self._client()
        receipt = self._called(lambda: client.send(half, client.begin_transaction()))
        return HalfMessage(receipt.message_queue.endpoints, half, receipt.transaction_id)

    def _end(self, half: HalfMessage, resolution: Resolution, source: int) -> None:
        answer = self._called(self._called(lambda: self._client().end(half, _ANSWERS[resolution], source)).result)
        if answer.status.code != Code.OK:
            raise BrokerUnavailable(f"RocketMQ: {answer.status.message}")

    def _begin_end(self, half: HalfMessage, resolution: Resolution) -> None:
        """Send a resolution without waiting: the caller has decided, and a check-back asks for one that is lost.

        At most as many are on their way as half messages were just sent, so no queue can grow.
        """
        ending = self._called(lambda: self._client().end(half, _ANSWERS[resolution], TransactionSource.SOURCE_CLIENT))
        self._ending.add(ending)

        def ended(answered: "Future[Any]") -> None:
            self._ending.discard(answered)
            error = answered.exception()
            if error is not None:
                self._on_failure()
                _not_resolved(half, unavailable(error))
            elif answered.result().status.code != Code.OK:
                _not_resolved(half, BrokerUnavailable(f"RocketMQ: {answered.result().status.message}"))

        ending.add_done_callback(ended)

    def _send(self, message: ClientMessage) -> None:
        self._called(lambda: self._client().send(message))

    def _called(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except MessagingError:
            raise
        except IllegalArgumentException as error:
            self._kinds.clear()  # a topic may have been recreated with another type
            raise unavailable(error) from error
        except Exception as error:
            self._on_failure()
            raise unavailable(error) from error

    def _accepted(self, topic: str, kinds: tuple[int, ...]) -> frozenset[int]:
        """The types that a topic accepts, looked up once.

        Raises:
            TopicUnusable: None of `kinds`.
        """
        known = self._kinds.get(topic)
        if known is None:
            known = self._called(lambda: accepted(self._client(), topic))
        check(topic, known, kinds)
        self._kinds[topic] = known
        return known


def _not_resolved(half: HalfMessage, error: MessagingError) -> None:
    log.warning("resolution not sent, a check-back will ask for it", topic=half.message.topic, error=str(error))
