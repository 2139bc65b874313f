"""What is done with one message that the native client has received.

The client keeps track of how far a group has come in each queue; it knows no tries and no delay between them but its
own. So a message that is not due, or whose handler failed, is sent on with a delay, marked for its group alone, and
only then acknowledged.
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
from common.messaging.rocketmq.native.messages import Arrived, arrived
from common.messaging.rocketmq.native.producer import Sending
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
        sending: Sends on.
        closing: Set when the broker closes.
    """

    def __init__(
        self, subscription: Subscription, *, retries: RetryPolicy, hops: Hops, sending: Sending, closing: Event
    ) -> None:
        self._subscription = subscription
        self._retries = retries
        self._hops = hops
        self._sending = sending
        self._closing = closing

    def process(self, received: Any) -> bool:
        """Process a message in a thread of the library's. Never raises: no exception may cross into C.

        Returns:
            Whether to acknowledge it; if not, the broker delivers it again.
        """
        try:
            self._process(arrived(self._subscription.topic, received))
        except _Closing:
            return False
        except BaseException:  # a bug of ours: the broker brings it again, and later gives it up
            log.exception("message not processed, it comes again", topic=self._subscription.topic)
            return False
        return True

    def _process(self, came: Arrived) -> None:
        match self._hops.on_arrival(came.properties, self._subscription.group):
            case Arrival.DROP:
                pass
            case _ if self._closing.is_set():  # the library delivers for a moment longer: send back what nobody began
                self._send_on(came, {})
            case Hop() as hop:
                self._send_on(came, {}, hop)
            case Arrival.HANDLE:
                self._handle(came)

    def _handle(self, came: Arrived) -> None:
        delivery = Delivery(came.message, came.message_id, came.attempt)
        match self._retries.deliver(delivery, self._subscription.group, self._subscription.handler):
            case Handled():
                pass
            case RetryAfter(pause):
                self._send_on(came, {TRY: str(came.attempt + 1)}, self._hops.first(pause))
            case GiveUp(attempts, error):
                properties = came.properties | dead_letter_properties(attempts, error)
                self._send(self._subscription.dead_letter_topic, came.message, properties)

    def _send_on(self, came: Arrived, more: Mapping[str, str], hop: Hop | None = None) -> None:
        """Send the message to its own group again, to be held for a hop."""
        properties = {**came.properties, FOR_GROUP: self._subscription.group, **more}
        self._send(self._subscription.full_topic, came.message, properties, hop)

    def _send(self, topic: str, message: Message, properties: Mapping[str, str], hop: Hop | None = None) -> None:
        """Send, however long the broker is away: until then the message is not acknowledged."""
        while True:
            try:
                return self._sending.send(topic, message, properties, hop)
            except BrokerUnavailable as error:
                log.warning("a message waits to be sent on", topic=topic, key=message.key, error=str(error))
                if self._closing.wait(_PAUSE_WHILE_AWAY_S):
                    raise _Closing from error
