"""What is done with one message that a consumer has received: handled, sent on, or made a dead letter."""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

import structlog

from common.errors import Unavailable
from common.messaging.long_delays import Arrival, Hop, Hops
from common.messaging.port import Delivery, Message
from common.messaging.retries import GiveUp, Handled, RetryAfter, RetryPolicy
from common.messaging.rocketmq.dead_letters import dead_letter_properties
from common.messaging.rocketmq.messages import forwarded_properties, original_id, to_port
from common.messaging.rocketmq.proxy.consumer import ReceivedMessage
from common.messaging.rocketmq.proxy.producer import Producer
from common.messaging.rocketmq.topology import Subscription

log = structlog.get_logger(__name__)

_SHORTEST_HOP: Final = timedelta(seconds=1)  # what is due sooner is waited for


class MessageHandler:
    """Processes the messages of one subscription.

    Args:
        subscription: Which.
        retries: Decides what follows a failure.
        hops: Plans delays.
        producer: Sends on.
        wait: Waits for so many seconds, or until the broker closes; returns whether it closes.
    """

    def __init__(
        self,
        subscription: Subscription,
        *,
        retries: RetryPolicy,
        hops: Hops,
        producer: Producer,
        wait: Callable[[float], bool],
    ) -> None:
        self._subscription = subscription
        self._retries = retries
        self._hops = hops
        self._producer = producer
        self._wait = wait

    def process(self, received: ReceivedMessage) -> None:
        """Process a message and let go of it. Never raises: whatever fails, the message comes again."""
        try:
            self._process(received)
        except Unavailable as error:
            log.warning(
                "message not forwarded, it will be redelivered", topic=self._subscription.topic, error=str(error)
            )
            received.redeliver_after(self._retries.first_pause)
        except Exception:  # a bug must not end the thread
            log.exception("message not processed, it will be redelivered", topic=self._subscription.topic)
            received.abandon()

    def _process(self, received: ReceivedMessage) -> None:
        message = to_port(self._subscription.topic, received.message)
        properties, group = received.message.properties, self._subscription.group
        next_step = self._hops.on_arrival(properties, group)
        while isinstance(next_step, Hop) and next_step.delay <= _SHORTEST_HOP:
            if self._wait(next_step.delay.total_seconds()):
                received.redeliver_after(next_step.delay)
                return
            next_step = self._hops.on_arrival(properties, group)
        match next_step:
            case Hop():
                self._producer.send_later(
                    self._subscription.full_topic, message, next_step, forwarded_properties(received.message)
                )
                received.acknowledge()
            case Arrival.DROP:
                received.acknowledge()
            case Arrival.HANDLE:
                self._handle(received, message)

    def _handle(self, received: ReceivedMessage, message: Message) -> None:
        delivery = Delivery(message, original_id(received.message), received.message.delivery_attempt)
        match self._retries.deliver(delivery, self._subscription.group, self._subscription.handler):
            case Handled():
                received.acknowledge()
            case RetryAfter(pause):
                received.redeliver_after(pause)
            case GiveUp(attempts, error):
                properties = {**forwarded_properties(received.message), **dead_letter_properties(attempts, error)}
                self._producer.send(self._subscription.dead_letter_topic, message, properties)
                received.acknowledge()
