"""Takes the messages of one subscription and has them handled by a few threads, each hidden from others meanwhile.

Messages are taken many at a time: when there is work for half of what may be held, as much again is fetched meanwhile.
A receipt of one message costs as much as one of thirty, and a thread that comes free does not wait for it. What was
taken is handled before the broker closes: to give it back would cost it one of its tries.
"""

import math
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from queue import SimpleQueue
from threading import Condition, Event, Lock, Thread, current_thread
from typing import Final

import structlog

from common.messaging.port import BrokerUnavailable
from common.messaging.rocketmq.proxy.client import Receiver, unavailable
from common.messaging.rocketmq.proxy.connection import Connection
from common.messaging.rocketmq.sdk import BadRequestException, ClientMessage

log = structlog.get_logger(__name__)

_MOST_AT_ONCE: Final = 32
_LONGEST_HIDDEN: Final = timedelta(hours=12)  # the proxy's own limit
_PAUSE_AFTER_ERROR_S: Final = 0.2
_RENEWALS_A_LEASE: Final = 3


class Held:
    """A message that this process works on: others don't get it until it is let go, or its lease is over."""

    def __init__(self, message: ClientMessage, connection: Connection[Receiver]) -> None:
        self.message = message
        self._connection = connection
        self._lock = Lock()
        self._over = False

    def done(self) -> None:
        """It is handled: nobody of the group gets it again."""
        with self._lock:
            self._over = True
            self._try(lambda client: client.begin_ack(self.message))

    def again_after(self, pause: timedelta) -> None:
        """Let it come again."""
        with self._lock:
            self._over = True
            self._hide(pause)

    def leave(self) -> None:
        """Do nothing more: it comes again when its lease is over."""
        with self._lock:
            self._over = True

    def renew(self, lease: timedelta) -> None:
        with self._lock:
            if not self._over:
                self._hide(lease)

    def _hide(self, span: timedelta) -> None:
        seconds = math.ceil(min(span, _LONGEST_HIDDEN).total_seconds())
        handle = self.message.receipt_handle
        if not self._try(lambda client: client.change_invisible_duration(self.message, seconds)):
            self.message.receipt_handle = handle  # the client takes an empty one from a refusal

    def _try(self, call: Callable[[Receiver], None]) -> bool:
        """Call the broker; where that fails, the message comes again."""
        try:
            call(self._connection.client)
        except BadRequestException as error:
            self._over = True  # somebody else has it by now
            log.info("the lease of a message was over", message_id=self.message.message_id, error=str(error))
        except Exception as error:  # noqa: BLE001 - whatever the client raises when it is cut off
            log.warning(
                "the broker was not told what became of a message, and brings it again",
                message_id=self.message.message_id,
                error=str(unavailable(error)),
            )
        else:
            return True
        return False


class Consumer:
    """One subscription's messages, each worked on by one of a few threads.

    Args:
        name: For threads and logs.
        connection: The receiver.
        threads: How many messages are worked on at once.
        lease: How long a message is hidden when it is taken, and each time that is renewed.
        process: Does all that a message asks for, and lets it go. It must not raise.
        failed: Is told when messages can't be received.
    """

    def __init__(
        self,
        *,
        name: str,
        connection: Connection[Receiver],
        threads: int,
        lease: timedelta,
        process: Callable[[Held], None],
        failed: Callable[[], None],
    ) -> None:
        self._name = name
        self._connection = connection
        self._lease = lease
        self._process = process
        self._failed = failed
        self._inbox: SimpleQueue[Held | None] = SimpleQueue()
        self._held: set[Held] = set()
        self._threads = threads
        self._free = 2 * threads  # to be worked on, and to go on with
        self._changed = Condition()
        self._closing = Event()
        self._taker = Thread(target=self._take, name=f"rocketmq-{name}-take", daemon=True)
        self._renewer = Thread(target=self._renew, name=f"rocketmq-{name}-renew", daemon=True)
        self._workers = [
            Thread(target=self._handle, name=f"rocketmq-{name}-{number}", daemon=True) for number in range(threads)
        ]
        self._done = Event()

    def start(self) -> None:
        for thread in (self._taker, self._renewer, *self._workers):
            thread.start()

    def stop_taking(self) -> None:
        """Take no more. What was taken is still handled."""
        self._closing.set()
        with self._changed:
            self._changed.notify_all()
        with suppress(BrokerUnavailable):  # then nothing is being received
            self._connection.client.stop_receiving()

    def wait(self) -> None:
        """Wait for what is being worked on."""
        if self._taker.ident is None:
            return
        self._taker.join()
        for _ in self._workers:
            self._inbox.put(None)
        for thread in self._workers:
            if thread is not current_thread():
                thread.join()
        with suppress(BrokerUnavailable):  # then nothing is on its way
            self._connection.client.finish_acks()
        self._done.set()
        self._renewer.join()

    # The taker's thread.

    def _take(self) -> None:
        while (free := self._wait_for_room()) > 0:
            for message in self._received(min(free, _MOST_AT_ONCE)):
                held = Held(message, self._connection)
                with self._changed:
                    self._free -= 1
                    self._held.add(held)
                self._inbox.put(held)

    def _wait_for_room(self) -> int:
        with self._changed:
            self._changed.wait_for(lambda: self._free >= self._threads or self._closing.is_set())
            return 0 if self._closing.is_set() else self._free

    def _received(self, most: int) -> list[ClientMessage]:
        try:
            messages: list[ClientMessage] = self._connection.client.receive(
                most, math.ceil(self._lease.total_seconds())
            )
        except Exception as error:  # noqa: BLE001 - whatever the client raises when it is cut off
            log.debug("nothing received", subscription=self._name, error=str(unavailable(error)))
            self._failed()
            self._closing.wait(_PAUSE_AFTER_ERROR_S)
            return []
        return messages

    # The workers' threads.

    def _handle(self) -> None:
        while (held := self._inbox.get()) is not None:
            self._process(held)
            with self._changed:
                self._held.discard(held)
                self._free += 1
                self._changed.notify_all()

    # The renewer's thread.

    def _renew(self) -> None:
        while not self._done.wait(self._lease.total_seconds() / _RENEWALS_A_LEASE):
            with self._changed:
                held = list(self._held)
            for each in held:
                each.renew(self._lease)
