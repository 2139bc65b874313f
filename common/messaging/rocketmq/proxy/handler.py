"""What is done with one message that was taken: handled, sent on, put off, or buried."""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

import structlog

from common.errors import Unavailable
from common.messaging.long_delays import Arrival, Hop, Hops
from common.messaging.port import Delivery, Handler, Message
from common.messaging.retries import GiveUp, Handled, RetryAfter, RetryPolicy
from common.messaging.rocketmq.dead_letters import dead_letter_properties, dead_letter_topic
from common.messaging.rocketmq.messages import first_id, properties_of, to_port
from common.messaging.rocketmq.proxy.consumer import Held
from common.messaging.rocketmq.proxy.producer import Sending

log = structlog.get_logger(__name__)

_WORTH_A_HOP: Final = timedelta(seconds=1)  # the shortest hop; what is due sooner is waited for


class Handling:
    """Works on the messages of one subscription.

    Args:
        topic: Without the prefix.
        full_topic: With it.
        group: The port's.
        consumer_group: RocketMQ's.
        handler: What messages are for.
        retries: Decides what follows a failure.
        wait: Waits for so many seconds, or until the broker closes; whether it does.
    """

    def __init__(
        self,
        *,
        topic: str,
        full_topic: str,
        group: str,
        consumer_group: str,
        handler: Handler,
        retries: RetryPolicy,
        hops: Hops,
        sending: Sending,
        wait: Callable[[float], bool],
    ) -> None:
        self._topic = topic
        self._full_topic = full_topic
        self._group = group
        self._graves = dead_letter_topic(consumer_group)
        self._handler = handler
        self._retries = retries
        self._hops = hops
        self._sending = sending
        self._wait = wait

    def __call__(self, held: Held) -> None:
        """Do what the message asks for, and let it go; whatever fails, it comes again."""
        try:
            self._work(held)
        except Unavailable as error:
            log.warning("a message can't be sent on now, and comes again", topic=self._topic, error=str(error))
            held.again_after(self._retries.first_pause)
        except Exception:  # a bug must not end the thread
            log.exception("a message could not be worked on, and comes again", topic=self._topic)
            held.leave()

    def _work(self, held: Held) -> None:
        message = to_port(self._topic, held.message)
        next_step = self._hops.on_arrival(held.message.properties, self._group)
        while isinstance(next_step, Hop) and next_step.delay <= _WORTH_A_HOP:
            if self._wait(next_step.delay.total_seconds()):
                held.again_after(next_step.delay)
                return
            next_step = self._hops.on_arrival(held.message.properties, self._group)
        if isinstance(next_step, Hop):
            self._sending.later(self._full_topic, message, next_step, properties_of(held.message))
            held.done()
        elif next_step is Arrival.DROP:
            held.done()
        else:
            self._handle(held, message)

    def _handle(self, held: Held, message: Message) -> None:
        delivery = Delivery(message, first_id(held.message), held.message.delivery_attempt)
        match self._retries.deliver(delivery, self._group, self._handler):
            case Handled():
                held.done()
            case RetryAfter(pause):
                held.again_after(pause)
            case GiveUp(attempts, error):
                properties = {**properties_of(held.message), **dead_letter_properties(attempts, error)}
                self._sending.at_once(self._graves, message, properties)
                held.done()
