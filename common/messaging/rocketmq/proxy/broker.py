"""The messaging port on RocketMQ 5, by its official client and the proxies.

What RocketMQ does and the port shows: messages come at least once, in any order, and some that were acknowledged come
again after the broker was killed; half messages that are resolved already are asked about as well.

Topics are typed and made beforehand: TRANSACTION for half messages, DELAY for plain and delayed ones. A subscription is
the consumer group `{prefix}{topic}-{group}`, one a topic, because RocketMQ wants all members of a group to have the
same topics. Dead letters are in its topic `%DLQ%{prefix}{topic}-{group}`.
"""

import time
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from threading import Event, Lock
from typing import Final

import structlog

from common.clock import Clock
from common.errors import Unavailable
from common.messaging.long_delays import FOR_GROUP, Hops, longest_step
from common.messaging.port import (
    Broker,
    BrokerUnavailable,
    Checker,
    Confirm,
    DeadLetter,
    Decide,
    Handler,
    Message,
    MessagingError,
    Resolution,
)
from common.messaging.retries import RetryPolicy
from common.messaging.rocketmq.dead_letters import DeadLetters, dead_letter_topic, note_of_replay
from common.messaging.rocketmq.proxy.check_backs import CheckBackWorkers
from common.messaging.rocketmq.proxy.client import Receiver, Sender, check, configuration, start
from common.messaging.rocketmq.proxy.connection import Connection, ConnectionMonitor
from common.messaging.rocketmq.proxy.consumer import Subscription
from common.messaging.rocketmq.proxy.handler import Handling
from common.messaging.rocketmq.proxy.producer import Sending
from common.messaging.rocketmq.proxy.url import RocketmqOptions
from common.messaging.rocketmq.remoting import TopicMissing, queues
from common.messaging.rocketmq.sdk import MessageType

log = structlog.get_logger(__name__)

_PATIENCE_AT_START_S: Final = 5.0
_PAUSE_AT_START_S: Final = 0.2

_CONSUMED: Final = (MessageType.DELAY, MessageType.TRANSACTION)
_ASKED_ABOUT: Final = (MessageType.TRANSACTION,)
_BURIED: Final = (MessageType.NORMAL,)


class RocketmqBroker(Broker):
    """See the module. Made by `open_broker`; connects when it is first used or started.

    Args:
        proxies: `host:port` of each.
        options: What the URL says.
        topic_prefix: Of the environment.
        clock: Tells when a delayed message is due.
    """

    def __init__(self, proxies: Collection[str], options: RocketmqOptions, *, topic_prefix: str, clock: Clock) -> None:
        self._options = options
        self._prefix = topic_prefix
        self._configuration = configuration(proxies, options.timeout)
        self._hops = Hops(clock, longest_step(options.longest_delay))
        self._monitor = ConnectionMonitor(options.look_every.total_seconds())
        self._connection = Connection("sender", self._make_sender)
        self._sending = Sending(self._sender, self._monitor.check_now)
        self._dead_letters = DeadLetters(options.nameserver)
        self._checkers: dict[str, tuple[str, Checker]] = {}
        self._questions = CheckBackWorkers(self._checkers, self._sending)
        self._subscriptions: dict[tuple[str, str], Subscription] = {}
        self._receivers: list[Connection[Receiver]] = []
        self._opening = Lock()
        self._opened = False
        self._started = False
        self._was_there = False  # all that this process needs
        self._closing = Event()

    # Sending

    def publish(self, message: Message) -> None:
        self._sending.at_once(self._prefix + message.topic, message, {})

    def publish_later(self, message: Message, delay: timedelta) -> None:
        self._sending.later(self._prefix + message.topic, message, self._hops.first(delay), {})

    def begin_publish_later(self, message: Message, delay: timedelta) -> Confirm:
        hop = self._hops.first(delay)
        if hop.delay <= timedelta(0):  # to be delivered at once: the topic may want what can't be begun
            return super().begin_publish_later(message, delay)
        return self._sending.begin_later(self._prefix + message.topic, message, hop)

    def in_transaction(self, message: Message, decide: Decide) -> Resolution:
        return self._sending.in_transaction(self._prefix + message.topic, message, decide)

    # Receiving

    def subscribe(self, topic: str, group: str, handler: Handler) -> None:
        self._not_started()
        if (topic, group) in self._subscriptions:
            raise ValueError(f"{topic!r} has a handler for {group!r} already")
        consumer_group = self._consumer_group(topic, group)
        receivers = Connection(f"receiver of {consumer_group}", lambda: self._make_receiver(topic, consumer_group))
        handling = Handling(
            topic=topic,
            full_topic=self._prefix + topic,
            group=group,
            consumer_group=consumer_group,
            handler=handler,
            retries=RetryPolicy(self._options.tries, self._options.retry_after),
            hops=self._hops,
            sending=self._sending,
            wait=self._closing.wait,
        )
        self._receivers.append(receivers)
        self._subscriptions[topic, group] = Subscription(
            name=consumer_group,
            connection=receivers,
            threads=self._options.handlers,
            lease=self._options.lease,
            work=handling,
            failed=self._monitor.check_now,
        )

    def answer_check_backs(self, topic: str, checker: Checker) -> None:
        self._not_started()
        if self._prefix + topic in self._checkers:
            raise ValueError(f"{topic!r} has a checker already")
        self._checkers[self._prefix + topic] = (topic, checker)

    def on_reachable(self, listener: Callable[[bool], None]) -> None:
        self._monitor.on_reachable(listener)

    def start(self) -> None:
        self._not_started()
        self._started = True
        self._questions.start()
        _patiently(self._sender)
        for topic, group in self._subscriptions:
            self._make_place_for_dead_letters(self._consumer_group(topic, group))
        for connection in self._receivers:
            _patiently(connection.open)
            self._monitor.add(connection)
        self._was_there = True
        for subscription in self._subscriptions.values():
            subscription.start()

    def _not_started(self) -> None:
        if self._started:
            raise RuntimeError("started already")

    def _consumer_group(self, topic: str, group: str) -> str:
        return f"{self._prefix}{topic}-{group}"

    # Connections

    def _sender(self) -> Sender:
        """The producer, made when it is first needed.

        Raises:
            BrokerUnavailable: There is none now, or the broker is closed.
        """
        if not self._opened:
            with self._opening:
                if self._closing.is_set():
                    raise BrokerUnavailable("the broker is closed")
                if not self._opened:
                    self._connection.open()
                    self._monitor.add(self._connection)
                    self._opened = True
        return self._connection.client

    def _make_sender(self) -> Sender:
        needs = dict.fromkeys(self._checkers, _ASKED_ABOUT)
        self._check_with_the_nameserver(needs)
        sender = Sender(self._configuration, self._checkers, self._questions.put)
        start(sender, needs)
        return sender

    def _make_place_for_dead_letters(self, consumer_group: str) -> None:
        """RocketMQ makes this topic itself when it gives up the first message: so nobody expects to have to make it."""
        try:
            self._dead_letters.ensure_topic(consumer_group)
        except MessagingError as error:
            log.warning("the topic for dead letters could not be made", group=consumer_group, error=str(error))

    def _make_receiver(self, topic: str, consumer_group: str) -> Receiver:
        needs = {self._prefix + topic: _CONSUMED, dead_letter_topic(consumer_group): _BURIED}
        self._check_with_the_nameserver(needs)
        receiver = Receiver(self._configuration, consumer_group, self._prefix + topic)
        start(receiver, needs)
        return receiver

    def _check_with_the_nameserver(self, needs: Mapping[str, Collection[int]]) -> None:
        """Before the proxy is asked for a topic: what it did not find, it does not look for again within 20 s.

        That would be so for each topic that is asked for while a broker that was killed has not told of itself yet.

        Raises:
            TopicUnusable: A topic is not there.
            BrokerUnavailable: It was there, and its broker is not back.
        """
        for topic, kinds in needs.items():
            try:
                queues(self._options.nameserver, topic)
            except TopicMissing as missing:
                if self._was_there:
                    raise BrokerUnavailable(f"no broker that is up has the topic {topic!r}") from missing
                check(topic, (), kinds)
            except MessagingError:
                return  # then the proxy has to do

    # Dead letters

    def dead_letters(self, topic: str, group: str, limit: int = 100) -> list[DeadLetter]:
        letters = self._dead_letters.all(topic, group, self._consumer_group(topic, group))
        return [each.letter for each in letters[:limit]]

    def replay(self, topic: str, group: str, dead_letter_id: str) -> None:
        consumer_group = self._consumer_group(topic, group)
        for each in self._dead_letters.all(topic, group, consumer_group):
            if each.letter.id == dead_letter_id:
                break
        else:
            raise KeyError(f"no dead letter {dead_letter_id!r} of {group!r} in {topic!r}")
        self._sending.at_once(self._prefix + topic, each.letter.message, {**each.properties, FOR_GROUP: group})
        note, properties = note_of_replay(each.letter)
        self._sending.at_once(dead_letter_topic(consumer_group), note, properties)

    # The end

    def close(self) -> None:
        if self._closing.is_set():
            return
        self._closing.set()
        for subscription in self._subscriptions.values():
            subscription.stop_taking()
        for subscription in self._subscriptions.values():
            subscription.wait()
        self._questions.close()
        self._sending.finish(self._options.timeout.total_seconds())
        with self._opening:  # or a call would open it behind our back
            self._monitor.close()


def _patiently(connect: Callable[[], object]) -> None:
    """Connect, a few times: a broker that has just started does not know its topics yet.

    Raises:
        BrokerUnavailable: RocketMQ can't be reached.
        TopicUnusable: A topic is missing, or of the wrong type.
    """
    give_up = time.monotonic() + _PATIENCE_AT_START_S
    while True:
        try:
            connect()
        except Unavailable:
            if time.monotonic() > give_up:
                raise
            time.sleep(_PAUSE_AT_START_S)
        else:
            return
