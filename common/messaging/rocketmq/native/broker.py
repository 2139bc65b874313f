"""The messaging port on RocketMQ, by the binding of its native client, `rocketmq-client-python`, and librocketmq.

It speaks to name servers and brokers, not to a proxy, and knows only RocketMQ's 18 delay levels: other delays travel in
hops. `rocketmq.topology` says how topics, groups and dead letters are named; a service may change to the other client.

Two things differ from the other client. A message whose process died while handling it comes again as the same attempt,
and so may messages acknowledged in that process's last five seconds. A process that hangs, but keeps its connection,
keeps its queues for two minutes.
"""

import atexit
from collections.abc import Callable, Collection
from datetime import timedelta
from threading import Event, Lock, Thread
from typing import Any
from uuid import uuid4

from common.clock import Clock
from common.messaging.checkers import Checkers
from common.messaging.long_delays import Hops, level_step
from common.messaging.port import (
    Broker,
    BrokerUnavailable,
    Decide,
    Handler,
    Message,
    Resolution,
)
from common.messaging.retries import RetryPolicy
from common.messaging.rocketmq.base import BaseBroker
from common.messaging.rocketmq.broker_settings import LEVELS, check_brokers
from common.messaging.rocketmq.native.consumer import Consumer
from common.messaging.rocketmq.native.handler import MessageHandler
from common.messaging.rocketmq.native.library import load
from common.messaging.rocketmq.native.membership import ConnectionMonitor, Member
from common.messaging.rocketmq.native.producer import Producer
from common.messaging.rocketmq.native.url import NativeUrl
from common.messaging.rocketmq.topology import Topology


def open_native(url: NativeUrl, *, topic_prefix: str, clock: Clock) -> Broker:
    """Make the broker that `url` names; see `open_broker`.

    Raises:
        ValueError: librocketmq is not there.
    """
    return NativeBroker(load(url.log_folder or ""), url, topic_prefix=topic_prefix, clock=clock)


class NativeBroker(BaseBroker[Consumer]):
    """See the module. Connects when it is first used or started.

    Args:
        client: The binding.
        url: Where the name servers are, and how the cluster is used.
        topic_prefix: Of the environment.
        clock: Decides when a delayed message is due.
    """

    def __init__(self, client: Any, url: NativeUrl, *, topic_prefix: str, clock: Clock) -> None:
        self._client = client
        self._url = url
        self._nameserver = url.nameservers[0]
        topology, checkers = Topology(topic_prefix, self._nameserver), Checkers()
        self._nameservers = ";".join(url.nameservers)
        self._instance = uuid4().hex[:12]  # unique, so that a second broker in this process has its own connections
        self._hops = Hops(clock, level_step)
        self._closing = Event()
        self._monitor = ConnectionMonitor(
            client, nameservers=url.nameservers, every=url.probe_every.total_seconds(), closing=self._closing
        )
        self._producer = Producer(
            client,
            nameservers=self._nameservers,
            instance=self._instance,
            topology=topology,
            timeout_ms=int(url.timeout.total_seconds() * 1000),
            checkers=checkers,
            on_failure=self._monitor.check_now,
        )
        super().__init__(topology, checkers, self._producer.send, self._monitor.reachability)
        self._state = Lock()
        atexit.register(self.close)  # a process never exits while the library's threads run

    # Sending

    def publish(self, message: Message) -> None:
        self._producer.send(self._topology.full_topic(message.topic), message, {})

    def publish_later(self, message: Message, delay: timedelta) -> None:
        self._producer.send(self._topology.full_topic(message.topic), message, {}, self._hops.first(delay))

    def in_transaction(self, message: Message, decide: Decide) -> Resolution:
        return self._producer.in_transaction(self._topology.full_topic(message.topic), message, decide)

    # Receiving

    def subscribe(self, topic: str, group: str, handler: Handler) -> None:
        subscription = self._new_subscription(topic, group, handler)
        message_handler = MessageHandler(
            subscription,
            retries=RetryPolicy(self._url.tries, self._url.retry_after),
            hops=self._hops,
            producer=self._producer,
            closing=self._closing,
        )
        self._consumers[topic, group] = Consumer(
            self._client,
            subscription,
            message_handler.process,
            nameservers=self._nameservers,
            instance=f"{self._instance}-{len(self._consumers)}",
            threads=self._url.handlers,
        )

    def start(self) -> None:
        self._not_started()
        with self._state:
            if self._closing.is_set():
                raise BrokerUnavailable("the broker is closed")
            check_brokers(self._nameserver, self._full_topics(), [LEVELS])
            self._started = True
            half_topics = [self._topology.full_topic(topic) for topic in self._checkers.topics]
            for topic in half_topics:
                self._producer.transactional_producer(topic)
            self._ensure_dead_letter_topics()
            for consumer in self._consumers.values():
                consumer.start()
            producers = [Member(topic, topic, consumes=False, instance=self._instance) for topic in half_topics]
            self._monitor.start([*producers, *(consumer.member for consumer in self._consumers.values())])

    # The end

    def close(self) -> None:
        if self._closing.is_set():
            return
        self._closing.set()
        atexit.unregister(self.close)
        with self._state:
            if self._started:
                _at_once([consumer.close for consumer in self._consumers.values()])
            self._monitor.close()
            self._producer.close()


def _at_once(calls: Collection[Callable[[], None]]) -> None:
    """Call all of them at the same time: while one waits for its handlers, the others must not receive more."""
    threads = [Thread(target=call, name="rocketmq-close") for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
