"""The messaging port on RocketMQ 5, by its official client and the proxies.

RocketMQ delivers at least once, in any order; after a broker was killed, some acknowledged messages come again. It
sends check-backs even for half messages that are already resolved.

`rocketmq.topology` says how topics, groups and dead letters are named.
"""

import time
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from threading import Event, Lock
from typing import Final

from common.clock import Clock
from common.errors import Unavailable
from common.messaging.checkers import Checkers
from common.messaging.long_delays import Hops, longest_step
from common.messaging.port import (
    BrokerUnavailable,
    Confirm,
    Decide,
    Handler,
    Message,
    MessagingError,
    Resolution,
)
from common.messaging.retries import RetryPolicy
from common.messaging.rocketmq.base import BaseBroker
from common.messaging.rocketmq.broker_settings import check_brokers, timer_rules
from common.messaging.rocketmq.proxy.check_backs import CheckBackWorkers
from common.messaging.rocketmq.proxy.client import ConsumerClient, ProducerClient, check, configuration, start
from common.messaging.rocketmq.proxy.connection import Connection, ConnectionMonitor
from common.messaging.rocketmq.proxy.consumer import Consumer
from common.messaging.rocketmq.proxy.handler import MessageHandler
from common.messaging.rocketmq.proxy.producer import Producer
from common.messaging.rocketmq.proxy.url import RocketmqUrl
from common.messaging.rocketmq.remoting import TopicMissing, queues
from common.messaging.rocketmq.sdk import MessageType
from common.messaging.rocketmq.topology import Subscription, Topology

_TIMEOUT_AT_START_S: Final = 5.0
_PAUSE_AT_START_S: Final = 0.2

_CONSUMED: Final = (MessageType.DELAY, MessageType.TRANSACTION)
_TRANSACTIONAL: Final = (MessageType.TRANSACTION,)
_PLAIN: Final = (MessageType.NORMAL,)


class RocketmqBroker(BaseBroker[Consumer]):
    """See the module. Made by `open_broker`; connects when it is first used or started.

    Args:
        url: Where the proxies are, and how they are used.
        topic_prefix: Of the environment.
        clock: Decides when a delayed message is due.
    """

    def __init__(self, url: RocketmqUrl, *, topic_prefix: str, clock: Clock) -> None:
        self._url = url
        topology, checkers = Topology(topic_prefix, url.nameserver_address), Checkers()
        self._configuration = configuration(url.proxies, url.timeout)
        self._hops = Hops(clock, longest_step(url.longest_delay))
        self._monitor = ConnectionMonitor(url.probe_every.total_seconds())
        self._connection = Connection("producer", self._start_producer_client)
        self._producer = Producer(self._producer_client, self._monitor.check_now)
        self._check_backs = CheckBackWorkers(checkers, topology, self._producer)
        super().__init__(topology, checkers, self._producer.send, self._monitor.reachability)
        self._consumer_connections: list[Connection[ConsumerClient]] = []
        self._opening = Lock()
        self._opened = False
        self._has_started = False  # then every topic existed
        self._closing = Event()

    # Sending

    def publish(self, message: Message) -> None:
        self._producer.send(self._topology.full_topic(message.topic), message, {})

    def publish_later(self, message: Message, delay: timedelta) -> None:
        self._producer.send_later(self._topology.full_topic(message.topic), message, self._hops.first(delay), {})

    def begin_publish_later(self, message: Message, delay: timedelta) -> Confirm:
        hop = self._hops.first(delay)
        if hop.delay <= timedelta(0):  # at once: a topic of half messages needs two calls, which can't overlap
            return super().begin_publish_later(message, delay)
        return self._producer.begin_send_later(self._topology.full_topic(message.topic), message, hop)

    def in_transaction(self, message: Message, decide: Decide) -> Resolution:
        return self._producer.in_transaction(self._topology.full_topic(message.topic), message, decide)

    # Receiving

    def subscribe(self, topic: str, group: str, handler: Handler) -> None:
        subscription = self._new_subscription(topic, group, handler)
        connection = Connection(
            f"consumer {subscription.consumer_group}", lambda: self._start_consumer_client(subscription)
        )
        message_handler = MessageHandler(
            subscription,
            retries=RetryPolicy(self._url.tries, self._url.retry_after),
            hops=self._hops,
            producer=self._producer,
            wait=self._closing.wait,
        )
        self._consumer_connections.append(connection)
        self._consumers[topic, group] = Consumer(
            name=subscription.consumer_group,
            connection=connection,
            threads=self._url.handlers,
            lease=self._url.lease,
            process=message_handler.process,
            on_failure=self._monitor.check_now,
        )

    def start(self) -> None:
        self._not_started()
        self._started = True
        self._check_backs.start()
        _retry_at_start(self._producer_client)
        self._ensure_dead_letter_topics()
        for connection in self._consumer_connections:
            _retry_at_start(connection.open)
            self._monitor.add(connection)
        self._has_started = True
        check_brokers(self._url.nameserver_address, self._full_topics(), timer_rules(self._url.longest_delay))
        for consumer in self._consumers.values():
            consumer.start()

    # Connections

    def _producer_client(self) -> ProducerClient:
        """The producer's client, connected when it is first needed.

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

    def _start_producer_client(self) -> ProducerClient:
        needs = dict.fromkeys(map(self._topology.full_topic, self._checkers.topics), _TRANSACTIONAL)
        self._check_with_the_nameserver(needs)
        client = ProducerClient(self._configuration, needs, self._check_backs.put)
        start(client, needs)
        return client

    def _start_consumer_client(self, subscription: Subscription) -> ConsumerClient:
        needs = {subscription.full_topic: _CONSUMED, subscription.dead_letter_topic: _PLAIN}
        self._check_with_the_nameserver(needs)
        client = ConsumerClient(self._configuration, subscription.consumer_group, subscription.full_topic)
        start(client, needs)
        return client

    def _check_with_the_nameserver(self, needs: Mapping[str, Collection[int]]) -> None:
        """Look topics up at the name server before the proxy: a proxy remembers for 20 s that it did not find one.

        Else it would do so for every topic that is asked for while a killed broker has not registered again.

        Raises:
            TopicUnusable: A topic does not exist.
            BrokerUnavailable: It existed, and its broker is not back yet.
        """
        for topic, kinds in needs.items():
            try:
                queues(self._url.nameserver_address, topic)
            except TopicMissing as missing:
                if self._has_started:
                    raise BrokerUnavailable(f"no broker that is running has the topic {topic!r}") from missing
                check(topic, (), kinds)
            except MessagingError:
                return  # without a name server, ask the proxy alone

    # The end

    def close(self) -> None:
        if self._closing.is_set():
            return
        self._closing.set()
        for consumer in self._consumers.values():
            consumer.stop_receiving()
        for consumer in self._consumers.values():
            consumer.wait()
        self._check_backs.close()
        self._producer.wait_for_resolutions(self._url.timeout.total_seconds())
        with self._opening:  # else a call could reopen it meanwhile
            self._monitor.close()


def _retry_at_start(connect: Callable[[], object]) -> None:
    """Connect, repeating for a few seconds: a broker that has just started does not know its topics yet.

    Raises:
        BrokerUnavailable: RocketMQ can't be reached.
        TopicUnusable: A topic is missing, or of the wrong type.
    """
    give_up = time.monotonic() + _TIMEOUT_AT_START_S
    while True:
        try:
            connect()
        except Unavailable:
            if time.monotonic() > give_up:
                raise
            time.sleep(_PAUSE_AT_START_S)
        else:
            return
