"""RocketMQ's official client, with what it takes to notice that the proxy no longer knows it.

The client does not reopen its telemetry stream after the proxy was away. The proxy then lacks the client's settings:
it refuses to deliver messages to it and sends it no check-backs. So each client sends its settings from time to time;
a living proxy answers with settings of its own.
"""

import asyncio
import math
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import CancelledError, Future, wait
from datetime import timedelta
from threading import Event
from typing import Any, Final, NamedTuple

import structlog

from common.messaging.port import BrokerUnavailable, MessagingError
from common.messaging.rocketmq.sdk import (
    AckMessageRequest,
    ClientConfiguration,
    ClientMessage,
    Code,
    Credentials,
    EndTransactionRequest,
    FilterExpression,
    MessageType,
    Producer,
    QueryRouteRequest,
    Resource,
    SimpleConsumer,
)

log = structlog.get_logger(__name__)


class HalfMessage(NamedTuple):
    """A half message that the broker holds.

    Attributes:
        endpoints: Where its resolution goes.
        message: As the client knows it.
        transaction: RocketMQ's id of the transaction.
    """

    endpoints: Any
    message: ClientMessage
    transaction: str


LONG_POLL_S: Final = 5  # the least that a proxy takes; a cluster of several brokers is polled in turn

_KINDS: Final = {
    MessageType.NORMAL: "NORMAL",
    MessageType.FIFO: "FIFO",
    MessageType.DELAY: "DELAY",
    MessageType.TRANSACTION: "TRANSACTION",
}


class TopicUnusable(BrokerUnavailable):
    """A topic is missing, or has the wrong type; the text says what to do."""


class _Signed:
    """Signs requests once a second: the signature covers the time in whole seconds, and costs as much as a request."""

    _signed: tuple[int, Any] = (0, None)

    def sign(self) -> Any:
        now = int(time.monotonic())
        second, metadata = self._signed
        if second != now:
            metadata = super().sign()  # type: ignore[misc] # the client's
            self._signed = now, metadata
        return metadata


class ProducerClient(_Signed, Producer):  # type: ignore[misc] # the client has no types
    """A producer that gets the check-backs of some topics only: those that have a checker in this process.

    Args:
        configuration: Of the client.
        check_back_topics: These topics, with their prefix.
        on_check_back: Called for each check-back, in the client's own thread: it must not wait.
    """

    def __init__(
        self,
        configuration: ClientConfiguration,
        check_back_topics: Collection[str],
        on_check_back: Callable[[HalfMessage], None],
    ) -> None:
        # The client's own checker is never called; it only has to be there.
        super().__init__(configuration, list(check_back_topics), checker=on_check_back)
        self.settings_came = Event()
        self._check_back_topics = sorted(check_back_topics)
        self._on_check_back = on_check_back

    def end(self, half: HalfMessage, resolution: int, source: int) -> "Future[Any]":
        """Send the resolution of a half message without waiting for the answer, as `end_transaction` would."""
        request = EndTransactionRequest(
            topic=Resource(name=half.message.topic),
            message_id=half.message.message_id,
            transaction_id=half.transaction,
            resolution=resolution,
            source=source,
        )
        timeout = self.client_configuration.request_timeout
        ended: Future[Any] = self.rpc_client.end_transaction_async(half.endpoints, request, self.sign(), timeout)
        return ended

    def sync_setting_req(self, endpoints: Any) -> Any:
        command = super().sync_setting_req(endpoints)
        topics = command.settings.publishing.topics
        del topics[:]  # the client names every topic that was ever sent to
        for topic in self._check_back_topics:
            topics.add().name = topic
        return command

    def reset_setting(self, settings: Any) -> None:
        super().reset_setting(settings)
        self.settings_came.set()

    def on_recover_orphaned_transaction_command(self, endpoints: Any, msg: Any, transaction_id: str) -> None:
        self._on_check_back(HalfMessage(endpoints, ClientMessage().fromProtobuf(msg), transaction_id))


class ConsumerClient(_Signed, SimpleConsumer):  # type: ignore[misc] # the client has no types
    """A consumer of one topic whose waiting for messages can be interrupted."""

    def __init__(self, configuration: ClientConfiguration, group: str, topic: str) -> None:
        super().__init__(configuration, group, {topic: FilterExpression()}, await_duration=LONG_POLL_S)
        self.settings_came = Event()
        self._waiting: Future[Any] | None = None
        self._stopped = False
        self._group = group
        self._acking: set[Future[Any]] = set()

    def reset_setting(self, settings: Any) -> None:
        super().reset_setting(settings)
        self.settings_came.set()

    def stop_receiving(self) -> None:
        """Interrupt the waiting; nothing is received from now on."""
        self._stopped = True
        if self._waiting is not None:
            self._waiting.cancel()

    def begin_ack(self, message: ClientMessage) -> None:
        """Acknowledge a message without waiting for the answer. If it is lost, the message comes again."""
        request = AckMessageRequest(group=Resource(name=self._group), topic=Resource(name=message.topic))
        request.entries.add(message_id=message.message_id, receipt_handle=message.receipt_handle)
        timeout = self.client_configuration.request_timeout
        acking = self.rpc_client.ack_message_async(message.endpoints, request, self.sign(), timeout)
        self._acking.add(acking)

        def acked(answered: "Future[Any]") -> None:
            self._acking.discard(answered)
            error = answered.exception()
            trouble = str(error or answered.result().status.message)
            if error is not None or answered.result().status.code != Code.OK:
                log.warning("message not acknowledged, it will be redelivered", id=message.message_id, error=trouble)

        acking.add_done_callback(acked)

    def finish_acks(self) -> None:
        """Wait for acknowledgements that are on their way, at most for the time of one request."""
        wait(list(self._acking), self.client_configuration.request_timeout)

    def _receive(self, queue: Any, req: Any, timeout: float) -> list[ClientMessage]:
        if self._stopped:
            return []
        self._waiting = asyncio.run_coroutine_threadsafe(
            self._receive_coroutine(queue, req, timeout), self._rpc_channel_io_loop()
        )
        if self._stopped:  # meanwhile
            self._waiting.cancel()
        try:
            messages: list[ClientMessage] = self._waiting.result()
        except CancelledError:
            return []
        return messages


Client = ProducerClient | ConsumerClient


def configuration(proxies: Collection[str], timeout: timedelta) -> ClientConfiguration:
    """The configuration of every client of these proxies."""
    return ClientConfiguration(";".join(proxies), Credentials(), request_timeout=math.ceil(timeout.total_seconds()))


def start(client: Client, needs: Mapping[str, Collection[int]]) -> None:
    """Start a client, and wait until the proxy knows it.

    Args:
        client: A new one.
        needs: Topics, each with types of message of which it has to accept at least one.

    Raises:
        TopicUnusable: A topic is missing, or accepts none of its types.
        BrokerUnavailable: The proxy can't be reached.
    """
    try:
        for topic, kinds in needs.items():
            check(topic, accepted(client, topic), kinds)
        client.startup()
        if not client.route_manager.get_all_endpoints():  # it knows no topic yet, so it has sent its settings nowhere
            endpoints = client.client_configuration.rpc_endpoints
            client._rpc_channel_io_loop().call_soon_threadsafe(client.on_new_endpoints, endpoints)  # noqa: SLF001
        known = client.settings_came.wait(client.client_configuration.request_timeout)
    except MessagingError:
        stop(client)
        raise
    except Exception as error:
        stop(client)
        raise unavailable(error) from error
    if not known:
        stop(client)
        raise BrokerUnavailable(f"RocketMQ: no answer from the proxy {client.client_configuration.rpc_endpoints}")


def is_known(client: Client) -> bool:
    """Whether the proxy still knows this client: it answers settings with settings."""
    timeout = client.client_configuration.request_timeout
    endpoints = list(client.route_manager.get_all_endpoints().values())
    try:
        for each in endpoints or [client.client_configuration.rpc_endpoints]:
            client.settings_came.clear()
            client.rpc_client.telemetry_write_async(each, client.sync_setting_req(each)).result(timeout)
            if not client.settings_came.wait(timeout):
                return False
    except Exception as error:  # noqa: BLE001 - whatever the client raises when it is cut off
        log.debug("settings not answered", error=repr(error))
        return False
    return True


def stop(client: Client) -> None:
    """Stop a client and all its threads, even if it never started."""
    try:
        if client.is_running:
            client.shutdown()
        client.rpc_client.stop()
    except Exception as error:  # noqa: BLE001 - nobody needs it any more, whatever it raises
        log.debug("client failed to stop", error=repr(error))
    for name in ("_Consumer__message_decode_executor", "_Producer__transaction_check_executor"):
        executor = getattr(client, name, None)  # the client leaves their threads behind
        if executor is not None:
            executor.shutdown()


def accepted(client: Client, topic: str) -> frozenset[int]:
    """The types of message that a topic accepts; empty if there is no such topic.

    Raises:
        BrokerUnavailable: The proxy can't be asked.
    """
    known = client.client_configuration
    request = QueryRouteRequest()
    request.topic.name = topic
    request.endpoints.CopyFrom(known.rpc_endpoints.endpoints)
    future = client.rpc_client.query_topic_route_async(
        known.rpc_endpoints, request, metadata=client.sign(), timeout=known.request_timeout
    )
    try:
        answer = future.result()
    except Exception as error:
        raise unavailable(error) from error
    if answer.status.code == Code.TOPIC_NOT_FOUND:
        return frozenset()
    if answer.status.code != Code.OK:
        raise BrokerUnavailable(f"no route to topic {topic!r}: {answer.status.message}")
    return frozenset(kind for queue in answer.message_queues for kind in queue.accept_message_types)


def check(topic: str, accepts: Collection[int], kinds: Collection[int]) -> None:
    """Check that a topic accepts one of these types of message.

    Raises:
        TopicUnusable: It accepts none of them.
    """
    if set(accepts) & set(kinds):
        return
    wanted = next(iter(kinds))
    make = f"mqadmin updateTopic -n NAMESERVER -c CLUSTER -t {topic} -a +message.type={_KINDS[wanted]}"
    if not accepts:
        raise TopicUnusable(f"RocketMQ has no topic {topic!r}; create it: {make}")
    has = ", ".join(_KINDS.get(kind, str(kind)) for kind in sorted(accepts))
    raise TopicUnusable(
        f"RocketMQ's topic {topic!r} accepts {has} messages, not {_KINDS[wanted]}; delete it, then: {make}"
    )


def unavailable(error: BaseException) -> BrokerUnavailable:
    """The port's error for a failure of the client."""
    details = getattr(error, "details", None)
    text = details() if callable(details) else str(error)
    return BrokerUnavailable(f"RocketMQ: {text or type(error).__name__}")
