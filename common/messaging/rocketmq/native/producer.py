"""Sends messages by the native client: one producer for plain messages, and one for each topic's half messages.

Producers are created when they are first needed, and kept. A producer for each request would be refused by the library,
and would leave nobody to answer check-backs.
"""

import ctypes
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from threading import Condition, Lock
from typing import Any, Final

import structlog

from common.messaging.checkers import Checkers
from common.messaging.delay_levels import DELAY_LEVELS
from common.messaging.long_delays import Hop
from common.messaging.port import BrokerUnavailable, Decide, Message, Resolution
from common.messaging.rocketmq.native.messages import native_message, received_message
from common.messaging.rocketmq.topology import Topology

log = structlog.get_logger(__name__)

_LARGEST_MESSAGE: Final = 4 * 1024 * 1024  # what a broker takes; the library's own limit is 128 KiB


class Producer:
    """See the module.

    Args:
        client: The binding.
        nameservers: `host:port;host:port`.
        instance: The instance name that the broker's clients share.
        topology: Names topics.
        timeout_ms: How long the broker may take to answer one attempt; the library makes five.
        checkers: Answer check-backs.
        on_failure: Called when something could not be sent.
    """

    def __init__(
        self,
        client: Any,
        *,
        nameservers: str,
        instance: str,
        topology: Topology,
        timeout_ms: int,
        checkers: Checkers,
        on_failure: Callable[[], None],
    ) -> None:
        self._client = client
        self._nameservers = nameservers
        self._instance = instance
        self._topology = topology
        self._group = topology.full_topic("sender")
        self._timeout_ms = timeout_ms
        self._checkers = checkers
        self._on_failure = on_failure
        self._producers: dict[str, Any] = {}
        self._making = Lock()
        self._reached: set[str] = set()
        self._first = Lock()
        self._calls = Condition()
        self._calling_now = 0
        self._closed = False

    def send(self, topic: str, message: Message, properties: Mapping[str, str], hop: Hop | None = None) -> None:
        """Send a message, to be held for a hop.

        Raises:
            BrokerUnavailable: It may or may not have been taken.
        """
        level = 1 + DELAY_LEVELS.index(hop.delay) if hop and hop.delay else 0
        more = {**properties, **hop.properties} if hop else properties
        producer = self._producer(self._group, self._make_plain)
        with self._calling(topic) as reached, native_message(self._client, topic, message, more, level) as made:
            try:
                result = producer.send_sync(made)
            except Exception as error:
                raise BrokerUnavailable(f"RocketMQ: {error}") from error
            reached()
        if result.status is not self._client.SendStatus.OK:
            raise BrokerUnavailable(f"RocketMQ: {result.status.name}")

    def in_transaction(self, topic: str, message: Message, decide: Decide) -> Resolution:
        """As `Broker.in_transaction`."""
        outcome: list[Resolution | BaseException] = []

        def execute(_message: Any, _arguments: Any) -> Any:
            reached()
            try:
                outcome.append(decide())
            except BaseException as error:  # noqa: BLE001 - it must not cross into C, and is raised below
                outcome.append(error)
            return self._status(outcome[0])

        producer = self.transactional_producer(topic)
        with self._calling(topic) as reached, native_message(self._client, topic, message, {}) as made:
            try:
                producer.send_message_in_transaction(made, execute)
            except Exception as error:
                if not outcome:
                    raise BrokerUnavailable(f"RocketMQ: {error}") from error
                log.warning("resolution not sent, a check-back will ask for it", topic=topic, error=str(error))
            if not outcome:
                raise BrokerUnavailable("RocketMQ: the half message is not flushed to disk")
        if isinstance(outcome[0], BaseException):
            raise outcome[0]
        return outcome[0]

    def transactional_producer(self, topic: str) -> Any:
        """The producer of a topic's half messages, which also gets their check-backs."""
        return self._producer(topic, lambda: self._make_transactional(topic))

    def close(self) -> None:
        """Refuse new messages, wait for those being sent, stop all producers."""
        with self._calls:
            self._closed = True
            self._calls.wait_for(lambda: not self._calling_now)
        with self._making:
            for producer in self._producers.values():
                producer.shutdown()
            self._producers.clear()

    def _producer(self, group: str, make: Callable[[], Any]) -> Any:
        with self._making:
            self._not_closed()
            if group not in self._producers:
                producer = make()
                self._set_up(producer)
                self._producers[group] = producer
            return self._producers[group]

    def _not_closed(self) -> None:
        if self._closed:
            raise BrokerUnavailable("the broker is closed")

    @contextmanager
    def _calling(self, topic: str) -> Iterator[Callable[[], None]]:
        """One call of the library. No producer is stopped meanwhile: the library would crash."""
        with self._calls:
            self._not_closed()
            self._calling_now += 1
        try:
            with self._first_alone(topic) as reached:
                yield reached
        finally:
            with self._calls:
                self._calling_now -= 1
                self._calls.notify_all()

    @contextmanager
    def _first_alone(self, topic: str) -> Iterator[Callable[[], None]]:
        """Let only one call connect to a topic: the library fails others that try at the same time.

        Yields a function to call when the topic was reached; then the other calls go on.
        """
        with ExitStack() as alone:

            def reached() -> None:
                self._reached.add(topic)
                alone.close()

            if topic not in self._reached:
                if not self._first.acquire(timeout=self._timeout_ms / 1000):
                    raise BrokerUnavailable("RocketMQ: another message is still waiting for a broker")
                alone.callback(self._first.release)
                if topic in self._reached:
                    alone.close()
            try:
                yield reached
            except BrokerUnavailable:
                self._reached.discard(topic)
                self._on_failure()
                raise

    def _make_plain(self) -> Any:
        return self._client.Producer(self._group)

    def _make_transactional(self, topic: str) -> Any:
        return self._client.TransactionMQProducer(topic, lambda received: self._answer(topic, received))

    def _set_up(self, producer: Any) -> None:
        handle, dll = producer._handle, self._client.dll  # noqa: SLF001 - the binding has no method for these
        producer.set_name_server_address(self._nameservers)
        producer.set_timeout(self._timeout_ms)
        producer.set_max_message_size(_LARGEST_MESSAGE)
        dll.SetProducerInstanceName(handle, self._instance.encode())
        # The library would compress a message again when it sends it again: so it compresses nothing.
        dll.SetProducerCompressMsgBodyOverHowmuch(ctypes.c_void_p(handle), ctypes.c_int(_LARGEST_MESSAGE))
        try:
            producer.start()
        except Exception as error:
            raise BrokerUnavailable(f"RocketMQ: {error}") from error

    def _answer(self, topic: str, received: Any) -> Any:
        """Answer a check-back in a thread of the library's. Never raises: no exception may cross into C."""
        try:
            return self._status(
                self._checkers.resolve(received_message(self._topology.port_topic(topic), received).message)
            )
        except Exception:  # a message that can't be read: the broker will ask again
            log.exception("check-back not answered", topic=topic)
            return self._client.TransactionStatus.UNKNOWN

    def _status(self, resolution: object) -> Any:
        statuses = self._client.TransactionStatus
        match resolution:
            case Resolution.COMMIT:
                return statuses.COMMIT
            case Resolution.ROLLBACK:
                return statuses.ROLLBACK
            case _:  # UNKNOWN, or a mistake of `decide`: a None must not drop a message
                return statuses.UNKNOWN
