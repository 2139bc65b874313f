"""What is done with one message that was taken: handled, sent on, put off, or buried."""

from collections.abc import Callable
from datetime import timedelta
from typing import Final

import structlog

from common.errors import Unavailable
from common.messaging.delay_levels import pause_before_retry
from common.messaging.long_delays import Arrival, Hop, Hops
from common.messaging.port import Delivery, Handler, Message
from common.messaging.retries import one_line
from common.messaging.rocketmq.dead_letters import GIVEN_UP_BY_THE_BROKER, dead_letter_properties, dead_letter_topic
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
        tries: After how many a message is a dead letter.
        retry_after: The first pause.
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
        tries: int,
        retry_after: timedelta,
        hops: Hops,
        sending: Sending,
        wait: Callable[[float], bool],
    ) -> None:
        self._topic = topic
        self._full_topic = full_topic
        self._group = group
        self._graves = dead_letter_topic(consumer_group)
        self._handler = handler
        self._tries = tries
        self._retry_after = retry_after
        self._hops = hops
        self._sending = sending
        self._wait = wait

    def __call__(self, held: Held) -> None:
        """Do what the message asks for, and let it go; whatever fails, it comes again."""
        try:
            self._work(held)
        except Unavailable as error:
            log.warning("a message can't be sent on now, and comes again", topic=self._topic, error=str(error))
            held.again_after(self._retry_after)
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
        attempt = held.message.delivery_attempt
        if attempt > self._tries:  # no handler came to an end with it: its process died each time
            self._dead_letter(held, message, attempt - 1, GIVEN_UP_BY_THE_BROKER)
            return
        try:
            self._handler(Delivery(message, first_id(held.message), attempt))
        except BaseException as error:  # noqa: BLE001 - whatever a handler raises means: again, later
            text = one_line(error)
            log.warning("handler failed", topic=self._topic, key=message.key, attempt=attempt, error=text)
            if attempt >= self._tries:
                self._dead_letter(held, message, attempt, text)
            else:
                held.again_after(pause_before_retry(attempt, self._retry_after))
        else:
            held.done()

    def _dead_letter(self, held: Held, message: Message, attempts: int, error: str) -> None:
        log.error("dead letter", topic=self._topic, group=self._group, key=message.key, attempts=attempts, error=error)
        self._sending.at_once(
            self._graves, message, {**properties_of(held.message), **dead_letter_properties(attempts, error)}
        )
        held.done()
