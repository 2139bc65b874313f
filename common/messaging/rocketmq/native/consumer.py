"""Has the messages of one subscription handled, by the native client and its threads.

The client keeps track of how far a group has come in each queue; it knows no tries and no delay between them but its
own. So a message that is not due, or whose handler failed, is sent on with a delay, marked for its group alone, and
only then acknowledged.
"""

from dataclasses import dataclass
from threading import Event
from typing import Any, Final

import structlog

from common.messaging.long_delays import FOR_GROUP, Arrival, Hop, Hops
from common.messaging.port import BrokerUnavailable, Delivery, Handler, Message
from common.messaging.retries import GiveUp, Handled, RetryAfter, RetryPolicy
from common.messaging.rocketmq.dead_letters import dead_letter_properties, dead_letter_topic
from common.messaging.rocketmq.messages import TRY
from common.messaging.rocketmq.native.membership import Member
from common.messaging.rocketmq.native.messages import Arrived, arrived
from common.messaging.rocketmq.native.producer import Sending

log = structlog.get_logger(__name__)

_PAUSE_WHILE_AWAY_S: Final = 1.0


class _Closing(Exception):
    """The broker closes before a message could be sent on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """What one handler needs.

    Attributes:
        topic: Without the prefix.
        full_topic: With it.
        group: The port's name of the group.
        consumer_group: RocketMQ's name of it.
        handler: Who handles.
        retries: Decides what follows a failure.
        hops: Plans delays.
        sending: Sends on.
        closing: Set when the broker closes.
    """

    topic: str
    full_topic: str
    group: str
    consumer_group: str
    handler: Handler
    retries: RetryPolicy
    hops: Hops
    sending: Sending
    closing: Event

    def __call__(self, received: Any) -> bool:
        """Do all that a message asks for, in a thread of the library's; whether it is done with.

        It must not raise: no exception may cross into C.
        """
        try:
            self._take(arrived(self.topic, received))
        except _Closing:
            return False
        except BaseException:  # a bug of ours: the broker brings it again, and later gives it up
            log.exception("a message could not be taken", topic=self.topic)
            return False
        return True

    def _take(self, came: Arrived) -> None:
        match self.hops.on_arrival(came.properties, self.group):
            case Arrival.DROP:
                pass
            case _ if self.closing.is_set():  # the library goes on for a moment: what nobody has begun is put back
                self._send(self.full_topic, came.message, came.properties | {FOR_GROUP: self.group})
            case Hop() as hop:
                self._send(self.full_topic, came.message, came.properties, hop)
            case Arrival.HANDLE:
                self._handle(came)

    def _handle(self, came: Arrived) -> None:
        match self.retries.deliver(Delivery(came.message, came.message_id, came.attempt), self.group, self.handler):
            case Handled():
                pass
            case RetryAfter(pause):
                again = came.properties | {FOR_GROUP: self.group, TRY: str(came.attempt + 1)}
                self._send(self.full_topic, came.message, again, self.hops.first(pause))
            case GiveUp(attempts, error):
                properties = came.properties | dead_letter_properties(attempts, error)
                self._send(dead_letter_topic(self.consumer_group), came.message, properties)

    def _send(self, topic: str, message: Message, properties: dict[str, str], hop: Hop | None = None) -> None:
        """Send on, however long the broker is away: until then the message is not acknowledged."""
        while True:
            try:
                return self.sending.send(topic, message, properties, hop)
            except BrokerUnavailable as error:
                log.warning("a message waits to be sent on", topic=topic, key=message.key, error=str(error))
                if self.closing.wait(_PAUSE_WHILE_AWAY_S):
                    raise _Closing from error


class Consumer:
    """The native consumer of a subscription.

    Args:
        client: The binding.
        subscription: Called with each message.
        nameservers: `host:port;host:port`.
        instance: A name of its own: of several consumers with one name, the library gives the later ones their
            queues only after ten seconds.
        threads: How many messages are handled at once.
    """

    def __init__(
        self, client: Any, subscription: Subscription, *, nameservers: str, instance: str, threads: int
    ) -> None:
        self._client = client
        self._subscription = subscription
        self.member = Member(subscription.full_topic, subscription.consumer_group, consumes=True, instance=instance)
        self._consumer = client.PushConsumer(subscription.consumer_group)
        self._consumer.set_name_server_address(nameservers)
        self._consumer.set_instance_name(instance)
        self._consumer.set_thread_count(threads)
        self._consumer.subscribe(subscription.full_topic, self._on_message)

    def start(self) -> None:
        """Begin to receive.

        Raises:
            BrokerUnavailable: It could not.
        """
        try:
            self._consumer.start()
        except Exception as error:
            raise BrokerUnavailable(f"RocketMQ: {error}") from error

    def close(self) -> None:
        """Take no more, wait for what is being handled, tell the broker how far the group has come."""
        self._consumer.shutdown()

    def _on_message(self, received: Any) -> Any:
        statuses = self._client.ConsumeStatus
        return statuses.CONSUME_SUCCESS if self._subscription(received) else statuses.RECONSUME_LATER
