"""Receives the messages of one subscription, and has a few threads process them under a lease.

Messages are received in batches: one receive call costs the same for one message as for thirty. Up to twice as many
messages are held as there are threads, so that a thread that becomes free finds the next one waiting. What was
received is processed before the broker closes, because returning it would cost it one of its attempts.
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
from common.messaging.rocketmq.proxy.client import ConsumerClient, unavailable
from common.messaging.rocketmq.proxy.connection import Connection
from common.messaging.rocketmq.sdk import BadRequestException, ClientMessage

log = structlog.get_logger(__name__)

_MOST_AT_ONCE: Final = 32
_LONGEST_LEASE: Final = timedelta(hours=12)  # the proxy's own limit
_PAUSE_AFTER_ERROR_S: Final = 0.2
_RENEWALS_A_LEASE: Final = 3


class ReceivedMessage:
    """A message under lease: no other member of the group gets it until it is let go of, or the lease ends."""

    def __init__(self, message: ClientMessage, connection: Connection[ConsumerClient]) -> None:
        self.message = message
        self._connection = connection
        self._lock = Lock()
        self._over = False

    def acknowledge(self) -> None:
        """It is done with: no member of the group gets it again."""
        with self._lock:
            self._over = True
            self._try(lambda client: client.begin_ack(self.message))

    def redeliver_after(self, pause: timedelta) -> None:
        """Let it come again after a pause."""
        with self._lock:
            self._over = True
            self._set_invisible(pause)

    def abandon(self) -> None:
        """Do nothing more: it comes again when its lease ends."""
        with self._lock:
            self._over = True

    def renew_lease(self, lease: timedelta) -> None:
        with self._lock:
            if not self._over:
                self._set_invisible(lease)

    def _set_invisible(self, span: timedelta) -> None:
        seconds = math.ceil(min(span, _LONGEST_LEASE).total_seconds())
        handle = self.message.receipt_handle
        if not self._try(lambda client: client.change_invisible_duration(self.message, seconds)):
            self.message.receipt_handle = handle  # after a refusal the client has an empty one

    def _try(self, call: Callable[[ConsumerClient], None]) -> bool:
        """Call the broker. If that fails, the message comes again when its lease ends."""
        try:
            call(self._connection.client)
        except BadRequestException as error:
            self._over = True  # another member has it by now
            log.info("lease of a message had ended", message_id=self.message.message_id, error=str(error))
        except Exception as error:  # noqa: BLE001 - whatever the client raises when it is cut off
            log.warning(
                "broker call about a message failed, it will be redelivered",
                message_id=self.message.message_id,
                error=str(unavailable(error)),
            )
        else:
            return True
        return False


class Consumer:
    """The messages of one subscription, each processed by one of a few threads.

    Args:
        name: For threads and logs.
        connection: The client.
        threads: How many messages are processed at once.
        lease: How long a message is leased when it is received, and at each renewal.
        process: Processes a message and lets go of it. It must not raise.
        on_failure: Called when messages can't be received.
    """

    def __init__(
        self,
        *,
        name: str,
        connection: Connection[ConsumerClient],
        threads: int,
        lease: timedelta,
        process: Callable[[ReceivedMessage], None],
        on_failure: Callable[[], None],
    ) -> None:
        self._name = name
        self._connection = connection
        self._lease = lease
        self._process = process
        self._on_failure = on_failure
        self._inbox: SimpleQueue[ReceivedMessage | None] = SimpleQueue()
        self._in_progress: set[ReceivedMessage] = set()
        self._threads = threads
        self._free = 2 * threads  # one in process and one waiting for each
        self._changed = Condition()
        self._closing = Event()
        self._receiver = Thread(target=self._receive, name=f"rocketmq-{name}-receive", daemon=True)
        self._renewer = Thread(target=self._renew, name=f"rocketmq-{name}-renew", daemon=True)
        self._workers = [
            Thread(target=self._work, name=f"rocketmq-{name}-{number}", daemon=True) for number in range(threads)
        ]
        self._done = Event()

    def start(self) -> None:
        for thread in (self._receiver, self._renewer, *self._workers):
            thread.start()

    def stop_receiving(self) -> None:
        """Receive no more. What was received is still processed."""
        self._closing.set()
        with self._changed:
            self._changed.notify_all()
        with suppress(BrokerUnavailable):  # then nothing is being received
            self._connection.client.stop_receiving()

    def wait(self) -> None:
        """Wait until all that was received is processed."""
        if self._receiver.ident is None:
            return
        self._receiver.join()
        for _ in self._workers:
            self._inbox.put(None)
        for thread in self._workers:
            if thread is not current_thread():
                thread.join()
        with suppress(BrokerUnavailable):  # then no acknowledgement is on its way
            self._connection.client.finish_acks()
        self._done.set()
        self._renewer.join()

    # The receiver's thread.

    def _receive(self) -> None:
        while (free := self._wait_for_capacity()) > 0:
            for message in self._receive_batch(min(free, _MOST_AT_ONCE)):
                received = ReceivedMessage(message, self._connection)
                with self._changed:
                    self._free -= 1
                    self._in_progress.add(received)
                self._inbox.put(received)

    def _wait_for_capacity(self) -> int:
        with self._changed:
            self._changed.wait_for(lambda: self._free >= self._threads or self._closing.is_set())
            return 0 if self._closing.is_set() else self._free

    def _receive_batch(self, most: int) -> list[ClientMessage]:
        try:
            messages: list[ClientMessage] = self._connection.client.receive(
                most, math.ceil(self._lease.total_seconds())
            )
        except Exception as error:  # noqa: BLE001 - whatever the client raises when it is cut off
            log.debug("nothing received", subscription=self._name, error=str(unavailable(error)))
            self._on_failure()
            self._closing.wait(_PAUSE_AFTER_ERROR_S)
            return []
        return messages

    # The workers' threads.

    def _work(self) -> None:
        while (received := self._inbox.get()) is not None:
            self._process(received)
            with self._changed:
                self._in_progress.discard(received)
                self._free += 1
                self._changed.notify_all()

    # The renewer's thread.

    def _renew(self) -> None:
        while not self._done.wait(self._lease.total_seconds() / _RENEWALS_A_LEASE):
            with self._changed:
                in_progress = list(self._in_progress)
            for each in in_progress:
                each.renew_lease(self._lease)
