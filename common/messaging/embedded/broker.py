"""The messaging driver for one machine: durable, shared by processes, nothing to install.

Everything is in one SQLite file (`store`). What a caller sends is on the disk before the call returns. Acknowledgements
and resolutions follow a moment later: if one is lost, the message is delivered again, or a check-back asks for it.

In each process one thread writes (`writer`), one watches for news (`watcher`), and a few for each subscription handle
messages (`consumer`). A broker that is never started has only the first of these.
"""

from collections.abc import Callable
from datetime import timedelta
from functools import partial

import structlog

from common.clock import Clock
from common.messaging.checkers import Checkers
from common.messaging.embedded.consumer import Consumer, micros, micros_since_epoch, moment_at
from common.messaging.embedded.store import CHECK_BACK, NOBODY, RECHECK, LeasedEntry, Store
from common.messaging.embedded.url import EmbeddedUrl
from common.messaging.embedded.watcher import Watcher
from common.messaging.embedded.writer import Write, Writer
from common.messaging.port import (
    Broker,
    BrokerUnavailable,
    Checker,
    Confirm,
    DeadLetter,
    Decide,
    Delivery,
    Handler,
    Message,
    Resolution,
)
from common.messaging.retries import GiveUp, Handled, RetryAfter, RetryPolicy
from common.plain_numbers import whole_number_or

log = structlog.get_logger(__name__)

_CHECKER_THREADS = 4
_NOTHING = timedelta(0)


class EmbeddedBroker(Broker):
    """See the module. Made by `open_broker`; touches the file when it is first used or started."""

    def __init__(self, url: EmbeddedUrl, *, topic_prefix: str, clock: Clock) -> None:
        self._url = url
        self._prefix = topic_prefix
        self._clock = clock
        self._writer = Writer(url.path, url.busy_timeout.total_seconds())
        self._retries = RetryPolicy(url.tries, url.retry_after)
        self._checkers = Checkers()
        self._consumers: list[Consumer] = []
        self._watcher: Watcher | None = None
        self._closing = False

    # Sending

    def publish(self, message: Message) -> None:
        self.publish_later(message, _NOTHING)

    def publish_later(self, message: Message, delay: timedelta) -> None:
        self.begin_publish_later(message, delay)()

    def begin_publish_later(self, message: Message, delay: timedelta) -> Confirm:
        at_once = delay <= _NOTHING
        # The clock truncates to whole microseconds; one more keeps the message from being early by a fraction.
        due = self._now() if at_once else self._now_and(delay) + 1
        write = Write(Store.publish, (self._prefix + message.topic, message.key, message.body, due, at_once))
        self._writer.put(write)
        return write.wait

    def in_transaction(self, message: Message, decide: Decide) -> Resolution:
        topic = self._prefix + message.topic
        check_at = self._now_and(self._url.check_after)
        half = self._writer.write(Store.add_half, (topic, message.key, message.body, check_at))
        resolution = decide()
        write = self._resolved(topic, half, resolution)
        if write is not None:
            try:
                self._writer.put(write)
            except BrokerUnavailable as error:
                log.warning("resolution not sent, a check-back will ask for it", topic=message.topic, error=str(error))
        return resolution

    def _resolved(self, topic: str, half: int, resolution: Resolution) -> Write | None:
        """What to write for the resolution of a half message; nothing if it is UNKNOWN."""
        now, check_at = self._now(), self._now_and(self._url.check_after)
        match resolution, self._url.recheck:
            case Resolution.COMMIT, False:
                return Write(Store.commit, (topic, half, now))
            case Resolution.COMMIT, True:
                return Write(Store.commit_and_recheck, (topic, half, now, check_at))
            case Resolution.ROLLBACK, False:
                return Write(Store.roll_back, (topic, half, now))
            case Resolution.ROLLBACK, True:
                return Write(Store.roll_back_and_recheck, (topic, half, check_at))
            case _:  # UNKNOWN, or a mistake of `decide`: a None must not drop a message
                return None

    # Receiving

    def subscribe(self, topic: str, group: str, handler: Handler) -> None:
        if group == NOBODY or group.startswith("%"):
            raise ValueError(f"a group's name must not be empty or begin with %: {group!r}")
        handle = partial(self._handle, topic, group, handler)
        self._add_consumer(topic, group, self._url.handlers, self._url.tries, handle)

    def answer_check_backs(self, topic: str, checker: Checker) -> None:
        self._checkers.add(topic, checker)
        check_back = partial(self._check_back, topic)
        self._add_consumer(topic, CHECK_BACK, _CHECKER_THREADS, self._url.check_max, check_back)
        if self._url.recheck:
            self._add_consumer(topic, RECHECK, 1, 0, partial(self._recheck, topic))

    def _add_consumer(
        self, topic: str, consumers: str, threads: int, tries: int, process: Callable[[LeasedEntry], Write]
    ) -> None:
        if self._watcher is not None:
            raise RuntimeError("subscribe before start")
        full_topic = self._prefix + topic
        if any((other.topic, other.consumers) == (full_topic, consumers) for other in self._consumers):
            raise ValueError(f"{topic!r} has a handler for {consumers!r} already")
        self._consumers.append(
            Consumer(
                topic=full_topic,
                consumers=consumers,
                threads=threads,
                tries=tries,
                lease=self._url.lease,
                now=self._now,
                writer=self._writer,
                process=process,
            )
        )

    def start(self) -> None:
        if self._watcher is not None:
            raise RuntimeError("started already")
        self._writer.prepare()
        queues = [self._writer.write(Store.join, (each.topic, each.consumers, self._now())) for each in self._consumers]
        self._watcher = Watcher(
            path=self._url.path,
            lease=self._url.lease,
            consumers=self._consumers,
            writer=self._writer,
            now=self._now,
            tidy=self._tidy,
        )
        if not self._consumers:
            return
        for consumer, queue in zip(self._consumers, queues, strict=True):
            consumer.start(queue)
        self._writer.lease_for(self._consumers)
        self._writer.wake()
        self._watcher.start()

    def _handle(self, topic: str, group: str, handler: Handler, entry: LeasedEntry) -> Write:
        delivery = Delivery(Message(topic, entry.key, entry.body), str(entry.id), entry.attempt)
        match self._retries.deliver(delivery, group, handler):
            case Handled():
                return Write(Store.acknowledge, (entry.id, entry.queue, entry.token))
            case RetryAfter(pause):
                return self._release(entry, pause)
            case GiveUp(_, error):  # the entry itself has counted its attempts
                return self._dead_letter(entry, error)

    def _check_back(self, topic: str, entry: LeasedEntry) -> Write:
        resolution = self._checkers.resolve(Message(topic, entry.key, entry.body))
        write = self._resolved(self._prefix + topic, entry.id, resolution)
        if write is not None:
            return write
        if entry.attempt >= self._url.check_max > 0:
            log.error("half message given up", topic=topic, key=entry.key, check_backs=entry.attempt)
            return self._dead_letter(entry, f"still UNKNOWN after {entry.attempt} check-backs")
        return self._release(entry, self._url.check_every)

    def _recheck(self, topic: str, entry: LeasedEntry) -> Write:
        row = (self._prefix + topic, entry.id, self._now())
        resolution = self._checkers.resolve(Message(topic, entry.key, entry.body))
        return Write(Store.commit if resolution is Resolution.COMMIT else Store.settle, row)

    def _release(self, entry: LeasedEntry, pause: timedelta) -> Write:
        return Write(Store.release, (self._now_and(pause), 0, entry.id, entry.queue, entry.token))

    def _dead_letter(self, entry: LeasedEntry, error: str) -> Write:
        return Write(Store.make_dead_letters, (error, self._now(), entry.id, entry.queue, entry.token))

    # Dead letters

    def dead_letters(self, topic: str, group: str, limit: int = 100) -> list[DeadLetter]:
        rows = self._writer.write(Store.dead_letters, (self._prefix + topic, group, limit))
        return [
            DeadLetter(str(letter), Message(topic, key, body), group, attempts, error, moment_at(dead_time))
            for letter, key, body, attempts, error, dead_time in rows
        ]

    def replay(self, topic: str, group: str, dead_letter_id: str) -> None:
        number = whole_number_or(dead_letter_id, 0)  # the first one is 1
        found = number and self._writer.write(Store.replay, (self._now(), self._prefix + topic, group, number))
        if not found:
            raise KeyError(f"no dead letter {dead_letter_id!r} of {group!r} in {topic!r}")

    # The end

    def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        for consumer in self._consumers:
            consumer.stop_leasing()
        if self._watcher is not None and self._consumers:
            self._writer.wait_for_dispatch()
            for consumer in self._consumers:
                consumer.wait()
            self._watcher.stop()
        self._writer.close()

    def _tidy(self) -> None:
        self._writer.put(Write(Store.tidy, (self._now() - micros(self._url.keep_settled),)))

    def _now(self) -> int:
        return micros_since_epoch(self._clock.now())

    def _now_and(self, span: timedelta) -> int:
        return self._now() + micros(span)
