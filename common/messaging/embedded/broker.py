"""The messaging driver for one machine: durable, shared by processes, nothing to install.

Everything is in one SQLite file (`embedded_store`); whatever a process says is on the disk before the call returns, but
for acknowledgements and resolutions: should one be lost, the message comes again, or is asked about.

In each process one thread writes (`embedded_writer`), one watches for news (`embedded_watcher`), and a few for each
subscription handle messages (`embedded_consumer`). A broker that is never started has the first of these only.
"""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import structlog

from common.clock import Clock
from common.messaging.checkers import Checkers
from common.messaging.embedded.consumer import Consumer, micros, micros_since_epoch, moment_at
from common.messaging.embedded.store import ASK_AGAIN, CHECK_BACK, NOBODY, Store, Taken
from common.messaging.embedded.url import EmbeddedOptions
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

log = structlog.get_logger(__name__)

_CHECKER_THREADS = 4
_NOTHING = timedelta(0)


class EmbeddedBroker(Broker):
    """See the module. Made by `open_broker`; touches the file when it is first used or started."""

    def __init__(self, path: Path, options: EmbeddedOptions, *, topic_prefix: str, clock: Clock) -> None:
        self._path = path
        self._options = options
        self._prefix = topic_prefix
        self._clock = clock
        self._writer = Writer(path, options.busy_timeout.total_seconds())
        self._retries = RetryPolicy(options.tries, options.retry_after)
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
        # The clock cuts its time to whole microseconds; one more, so that no message is early by a part of one.
        due = self._now() if at_once else self._now_and(delay) + 1
        write = Write(Store.publish, (self._prefix + message.topic, message.key, message.body, due, at_once))
        self._writer.put(write)
        return write.wait

    def in_transaction(self, message: Message, decide: Decide) -> Resolution:
        topic = self._prefix + message.topic
        ask = self._now_and(self._options.check_after)
        half = self._writer.write(Store.half, (topic, message.key, message.body, ask))
        resolution = decide()
        write = self._resolved(topic, half, resolution)
        if write is not None:
            try:
                self._writer.put(write)
            except BrokerUnavailable as error:
                log.warning("resolution not sent, the broker will ask", topic=message.topic, error=str(error))
        return resolution

    def _resolved(self, topic: str, half: int, resolution: Resolution) -> Write | None:
        """What to write of a resolution of a half message; nothing when it is UNKNOWN."""
        now, ask = self._now(), self._now_and(self._options.check_after)
        match resolution, self._options.ask_again:
            case Resolution.COMMIT, False:
                return Write(Store.commit, (topic, half, now))
            case Resolution.COMMIT, True:
                return Write(Store.commit_and_ask_again, (topic, half, now, ask))
            case Resolution.ROLLBACK, False:
                return Write(Store.roll_back, (topic, half, now))
            case Resolution.ROLLBACK, True:
                return Write(Store.roll_back_and_ask_again, (topic, half, ask))
            case _:  # also what a checker without types returned by mistake: None must not drop a message
                return None

    # Receiving

    def subscribe(self, topic: str, group: str, handler: Handler) -> None:
        if group == NOBODY or group.startswith("%"):
            raise ValueError(f"{group!r} can't be a group's name: it is empty, or begins with %")
        work = partial(self._handle, topic, group, handler)
        self._add_consumer(topic, group, self._options.handlers, self._options.tries, work)

    def answer_check_backs(self, topic: str, checker: Checker) -> None:
        self._checkers.add(topic, checker)
        ask = partial(self._ask, topic)
        self._add_consumer(topic, CHECK_BACK, _CHECKER_THREADS, self._options.check_max, ask)
        if self._options.ask_again:
            self._add_consumer(topic, ASK_AGAIN, 1, 0, partial(self._ask_again, topic))

    def _add_consumer(
        self, topic: str, consumers: str, threads: int, tries: int, work: Callable[[Taken], Write]
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
                lease=self._options.lease,
                now=self._now,
                writer=self._writer,
                work=work,
            )
        )

    def start(self) -> None:
        if self._watcher is not None:
            raise RuntimeError("started already")
        queues = [self._writer.write(Store.join, (each.topic, each.consumers, self._now())) for each in self._consumers]
        self._watcher = Watcher(
            path=self._path,
            lease=self._options.lease,
            consumers=self._consumers,
            writer=self._writer,
            now=self._now,
            tidy=self._tidy,
        )
        if not self._consumers:
            return
        for consumer, queue in zip(self._consumers, queues, strict=True):
            consumer.start(queue)
        self._writer.take_for(self._consumers)
        self._writer.wake()
        self._watcher.start()

    def _handle(self, topic: str, group: str, handler: Handler, taken: Taken) -> Write:
        delivery = Delivery(Message(topic, taken.key, taken.body), str(taken.id), taken.attempt)
        match self._retries.deliver(delivery, group, handler):
            case Handled():
                return Write(Store.done, (taken.id, taken.queue, taken.token))
            case RetryAfter(pause):
                return self._later(taken, pause)
            case GiveUp(_, error):  # the entry itself has counted its attempts
                return self._dead(taken, error)

    def _ask(self, topic: str, taken: Taken) -> Write:
        resolution = self._checkers.resolve(Message(topic, taken.key, taken.body))
        write = self._resolved(self._prefix + topic, taken.id, resolution)
        if write is not None:
            return write
        if taken.attempt >= self._options.check_max > 0:
            log.error("half message given up", topic=topic, key=taken.key, rounds=taken.attempt)
            return self._dead(taken, f"not known after {taken.attempt} rounds of asking")
        return self._later(taken, self._options.check_every)

    def _ask_again(self, topic: str, taken: Taken) -> Write:
        row = (self._prefix + topic, taken.id, self._now())
        resolution = self._checkers.resolve(Message(topic, taken.key, taken.body))
        return Write(Store.commit if resolution is Resolution.COMMIT else Store.settle, row)

    def _later(self, taken: Taken, pause: timedelta) -> Write:
        return Write(Store.again, (self._now_and(pause), 0, taken.id, taken.queue, taken.token))

    def _dead(self, taken: Taken, error: str) -> Write:
        return Write(Store.bury, (error, self._now(), taken.id, taken.queue, taken.token))

    # Dead letters

    def dead_letters(self, topic: str, group: str, limit: int = 100) -> list[DeadLetter]:
        rows = self._writer.write(Store.dead_letters, (self._prefix + topic, group, limit))
        return [
            DeadLetter(str(letter), Message(topic, key, body), group, attempts, error, moment_at(dead_time))
            for letter, key, body, attempts, error, dead_time in rows
        ]

    def replay(self, topic: str, group: str, dead_letter_id: str) -> None:
        there = dead_letter_id.isdecimal() and self._writer.write(
            Store.replay, (self._now(), self._prefix + topic, group, int(dead_letter_id))
        )
        if not there:
            raise KeyError(f"no dead letter {dead_letter_id!r} of {group!r} in {topic!r}")

    # The end

    def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        for consumer in self._consumers:
            consumer.stop_taking()
        if self._watcher is not None and self._consumers:
            self._writer.wait_for_takers()
            for consumer in self._consumers:
                consumer.wait()
            self._watcher.stop()
        self._writer.close()

    def _tidy(self) -> None:
        self._writer.put(Write(Store.tidy, (self._now() - micros(self._options.keep_settled),)))

    def _now(self) -> int:
        return micros_since_epoch(self._clock.now())

    def _now_and(self, span: timedelta) -> int:
        return self._now() + micros(span)
