"""What is done with one message that the native client has received: handled, sent on, or made a dead letter.

The client tracks how far a group has come in each queue; its own retries can't be told how long to wait. So a message
that is not due, or whose handler failed, is sent on with a delay, marked for its group alone, and only then
acknowledged.
"""

from collections.abc import Mapping
from threading import Event
from typing import Any, Final

import structlog

from common.messaging.long_delays import FOR_GROUP, Arrival, Hop, Hops
from common.messaging.port import BrokerUnavailable, Delivery, Message
from common.messaging.retries import GiveUp, Handled, RetryAfter, RetryPolicy
from common.messaging.rocketmq.dead_letters import dead_letter_properties
from common.messaging.rocketmq.messages import TRY
from common.messaging.rocketmq.native.messages import ReceivedMessage, received_message
from common.messaging.rocketmq.native.producer import Producer
from common.messaging.rocketmq.topology import Subscription

log = structlog.get_logger(__name__)

_PAUSE_WHILE_AWAY_S: Final = 1.0


class _Closing(Exception):
    """The broker closes before a message could be sent on."""


class MessageHandler:
    """Processes the messages of one subscription.

    Args:
        subscription: Which.
        retries: Decides what follows a failure.
        hops: Plans delays.
        producer: Sends on.
        closing: Set when the broker closes.
    """

    def __init__(
        self, subscription: Subscription, *, retries: RetryPolicy, hops: Hops, producer: Producer, closing: Event
    ) -> None:
        self._subscription = subscription
        self._retries = retries
        self._hops = hops
        self._producer = producer
        self._closing = closing

    def process(self, received: Any) -> bool:
        """Process a message in a thread of the library's. Never raises: no exception may cross into C.

        Returns:
            Whether to acknowledge it; if not, the broker delivers it again.
        """
        try:
            self._process(received_message(self._subscription.topic, received))
        except _Closing:
            return False
        except BaseException:  # a bug: the broker delivers the message again, and gives it up in the end
            log.exception("message not processed, it will be redelivered", topic=self._subscription.topic)
            return False
        return True

    def _process(self, received: ReceivedMessage) -> None:
        match self._hops.on_arrival(received.properties, self._subscription.group):
            case Arrival.DROP:
                pass
            case _ if self._closing.is_set():  # the library delivers for a moment longer: send back what nobody began
                self._send_on(received, {})
            case Hop() as hop:
                self._send_on(received, {}, hop)
            case Arrival.HANDLE:
                self._handle(received)

    def _handle(self, received: ReceivedMessage) -> None:
        delivery = Delivery(received.message, received.message_id, received.attempt)
        match self._retries.deliver(delivery, self._subscription.group, self._subscription.handler):
            case Handled():
                pass
            case RetryAfter(pause):
                self._send_on(received, {TRY: str(received.attempt + 1)}, self._hops.first(pause))
            case GiveUp(attempts, error):
                properties = received.properties | dead_letter_properties(attempts, error)
                self._send(self._subscription.dead_letter_topic, received.message, properties)

    def _send_on(self, received: ReceivedMessage, more: Mapping[str, str], hop: Hop | None = None) -> None:
        """Send the message to its own group again, to be held for a hop."""
        properties = {**received.properties, FOR_GROUP: self._subscription.group, **more}
        self._send(self._subscription.full_topic, received.message, properties, hop)

    def _send(self, topic: str, message: Message, properties: Mapping[str, str], hop: Hop | None = None) -> None:
        """Send, however long the broker is away: until then the message is not acknowledged."""
        while True:
            try:
                return self._producer.send(topic, message, properties, hop)
            except BrokerUnavailable as error:
                log.warning(
                    "message not forwarded yet, the broker is away", topic=topic, key=message.key, error=str(error)
                )
                if self._closing.wait(_PAUSE_WHILE_AWAY_S):
                    raise _Closing from error
