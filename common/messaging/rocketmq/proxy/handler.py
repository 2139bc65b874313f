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
from common.messaging.rocketmq.messages import first_id, properties_of, to_port
from common.messaging.rocketmq.proxy.consumer import Held
from common.messaging.rocketmq.proxy.producer import Sending
from common.messaging.rocketmq.topology import Subscription

log = structlog.get_logger(__name__)

_SHORTEST_HOP: Final = timedelta(seconds=1)  # what is due sooner is waited for


class MessageHandler:
    """Processes the messages of one subscription.

    Args:
        subscription: Which.
        retries: Decides what follows a failure.
        hops: Plans delays.
        sending: Sends on.
        wait: Waits for so many seconds, or until the broker closes; returns whether it closes.
    """

    def __init__(
        self,
        subscription: Subscription,
        *,
        retries: RetryPolicy,
        hops: Hops,
        sending: Sending,
        wait: Callable[[float], bool],
    ) -> None:
        self._subscription = subscription
        self._retries = retries
        self._hops = hops
        self._sending = sending
        self._wait = wait

    def process(self, held: Held) -> None:
        """Process a message and let go of it. Never raises: whatever fails, the message comes again."""
        try:
            self._process(held)
        except Unavailable as error:
            log.warning("message not sent on, it comes again", topic=self._subscription.topic, error=str(error))
            held.again_after(self._retries.first_pause)
        except Exception:  # a bug must not end the thread
            log.exception("message not processed, it comes again", topic=self._subscription.topic)
            held.leave()

    def _process(self, held: Held) -> None:
        message = to_port(self._subscription.topic, held.message)
        properties, group = held.message.properties, self._subscription.group
        next_step = self._hops.on_arrival(properties, group)
        while isinstance(next_step, Hop) and next_step.delay <= _SHORTEST_HOP:
            if self._wait(next_step.delay.total_seconds()):
                held.again_after(next_step.delay)
                return
            next_step = self._hops.on_arrival(properties, group)
        match next_step:
            case Hop():
                self._sending.later(self._subscription.full_topic, message, next_step, properties_of(held.message))
                held.done()
            case Arrival.DROP:
                held.done()
            case Arrival.HANDLE:
                self._handle(held, message)

    def _handle(self, held: Held, message: Message) -> None:
        delivery = Delivery(message, first_id(held.message), held.message.delivery_attempt)
        match self._retries.deliver(delivery, self._subscription.group, self._subscription.handler):
            case Handled():
                held.done()
            case RetryAfter(pause):
                held.again_after(pause)
            case GiveUp(attempts, error):
                properties = {**properties_of(held.message), **dead_letter_properties(attempts, error)}
                self._sending.at_once(self._subscription.dead_letter_topic, message, properties)
                held.done()
