"""Checks that the brokers know this process, and announces it to those that don't.

A broker sends check-backs to a producer, and assigns queues to a consumer, only once it has their heartbeat. The native
client sends one every 30 seconds, so for that long nothing would happen after a broker came back. But it also sends one
when a consumer starts. So a consumer is started for a moment, of a group of its own and with a filter that matches no
message.
"""

import time
from collections.abc import Collection
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any, Final

import structlog

from common.errors import Unavailable
from common.messaging.port import BrokerUnavailable
from common.messaging.reachability import Reachability
from common.messaging.rocketmq.remoting import connected, queues

log = structlog.get_logger(__name__)

_CONSUMERS_OF_GROUP: Final = 203
_PRODUCERS_OF_GROUP: Final = 204
_PAUSE_WHILE_AWAY_S: Final = 0.3
_TIMEOUT_AT_START_S: Final = 5.0
_NO_TAG: Final = "announcement"


@dataclass(frozen=True, slots=True)
class Member:
    """A client of this process that the brokers of a topic must know.

    Attributes:
        topic: With the prefix.
        group: RocketMQ's name of its group.
        consumes: Whether it is a consumer, not a producer.
        instance: Its instance name, shared by clients that use the same connections.
    """

    topic: str
    group: str
    consumes: bool
    instance: str


class ConnectionMonitor:
    """See the module. Reports when a broker is lost, and when it is back.

    Args:
        client: The binding.
        nameservers: `host:port` of each.
        every: Seconds between two checks.
        closing: Set when the broker closes.

    Attributes:
        reachability: Tells listeners.
    """

    def __init__(self, client: Any, *, nameservers: Collection[str], every: float, closing: Event) -> None:
        self._client = client
        self._nameservers = nameservers
        self._every = every
        self._members: list[Member] = []
        self._last_brokers: dict[str, frozenset[str]] = {}
        self.reachability = Reachability("RocketMQ")
        self._check_now = Event()
        self._closing = closing
        self._thread = Thread(target=self._run, name="rocketmq-monitor", daemon=True)

    def start(self, members: Collection[Member]) -> None:
        """Announce these members, wait until all brokers know them, and go on checking in a thread.

        Raises:
            BrokerUnavailable: A broker can't be reached, or does not know a member in time.
            TopicMissing: A topic does not exist.
        """
        self._members = list(members)
        give_up = time.monotonic() + _TIMEOUT_AT_START_S
        while not self._closing.is_set():
            try:
                unknown = self._unknown()
            except Unavailable:
                if time.monotonic() > give_up:
                    raise
            else:
                if not unknown:
                    break
                if time.monotonic() > give_up:
                    raise BrokerUnavailable(f"RocketMQ does not know {unknown[0].group} yet")
                self._announce(unknown)
            self._closing.wait(_PAUSE_WHILE_AWAY_S)
        self._thread.start()

    def check_now(self) -> None:
        """Check at once, because a message could not be sent."""
        self._check_now.set()

    def close(self) -> None:
        """Wait for the last check; `closing` is set already."""
        self._check_now.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._closing.is_set():
            if self.reachability.is_reachable:
                self._check_now.wait(self._every)
            else:
                self._closing.wait(_PAUSE_WHILE_AWAY_S)  # no hurry: failed calls are no news now
            self._check_now.clear()
            if not self._closing.is_set():
                self.reachability.report(reachable=self._check())

    def _check(self) -> bool:
        try:
            unknown = self._unknown()
            if unknown and not self._closing.is_set():
                log.warning("a broker no longer knows this process", groups=[each.group for each in unknown])
                self._announce(unknown)
        except Unavailable as error:
            log.debug("RocketMQ is unreachable", error=str(error))
            return False
        except Exception:  # whatever a broken answer raises, the monitor must go on
            log.exception("membership check failed")
            return False
        return not unknown

    def _unknown(self) -> list[Member]:
        """The members that some broker of their topic does not know.

        Raises:
            BrokerUnavailable: A name server or a broker can't be reached.
        """
        return [member for member in self._members if not self._is_known(member)]

    def _is_known(self, member: Member) -> bool:
        code = _CONSUMERS_OF_GROUP if member.consumes else _PRODUCERS_OF_GROUP
        fields: dict[str, object] = {"consumerGroup" if member.consumes else "producerGroup": member.group}
        name = f'#{member.instance}"'.encode()  # how a client's id ends in the answer
        for address in self._brokers_of(member.topic):
            with connected(address) as broker:
                if name not in broker.ask(code, fields).body:
                    return False
        return True

    def _brokers_of(self, topic: str) -> frozenset[str]:
        """The addresses of a topic's brokers; while no name server answers, the last known ones."""
        failure = BrokerUnavailable("no name server is configured")
        for nameserver in self._nameservers:
            try:
                self._last_brokers[topic] = frozenset(queue.broker for queue in queues(nameserver, topic))
            except BrokerUnavailable as error:
                failure = error
            else:
                return self._last_brokers[topic]
        if topic not in self._last_brokers:
            raise failure
        return self._last_brokers[topic]

    def _announce(self, members: Collection[Member]) -> None:
        for member in members:
            consumer = self._client.PushConsumer(f"{member.topic}-announcement")
            consumer.set_name_server_address(";".join(self._nameservers))
            consumer.set_instance_name(member.instance)
            consumer.subscribe(member.topic, self._acknowledge, _NO_TAG)
            try:
                consumer.start()
                consumer.shutdown()
            except self._client.RocketMQException as error:
                log.debug("not announced", group=member.group, error=str(error))

    def _acknowledge(self, _received: Any) -> Any:
        return self._client.ConsumeStatus.CONSUME_SUCCESS
