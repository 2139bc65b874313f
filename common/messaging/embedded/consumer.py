"""Takes the entries of one queue and has them worked on by a few threads."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from queue import SimpleQueue
from threading import Thread, current_thread

from common.messaging.embedded.store import Lease, Store, Taken
from common.messaging.embedded.writer import Write, Writer
from common.messaging.port import BrokerUnavailable

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FOR_EVER = 1 << 62


def micros(span: timedelta) -> int:
    """The span in whole microseconds; one that no table can hold is cut to 146,000 years."""
    return min(span // timedelta(microseconds=1), _FOR_EVER)


def micros_since_epoch(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def moment_at(micros_since: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros_since)


def tick() -> int:
    """Microseconds on the machine's monotonic clock, the same for all processes."""
    return time.monotonic_ns() // 1000


class Consumer:
    """One queue's entries, each worked on by one of a few threads.

    Args:
        topic: With the prefix.
        consumers: Whose queue it is: a group, or CHECK_BACK or ASK_AGAIN.
        threads: How many entries are worked on at once; no more are taken than are.
        tries: After how many an entry is not taken again but becomes a dead letter. 0: never.
        work: Does all that an entry asks for, and returns what is to be written then. It must not raise.
    """

    def __init__(
        self,
        *,
        topic: str,
        consumers: str,
        threads: int,
        tries: int,
        lease: timedelta,
        now: Callable[[], int],
        writer: Writer,
        work: Callable[[Taken], Write],
    ) -> None:
        self.topic = topic
        self.consumers = consumers
        self.queue = 0
        self._tries = tries
        self._lease = micros(lease)
        self._now = now
        self._writer = writer
        self._work = work
        self._inbox: SimpleQueue[Taken | None] = SimpleQueue()
        self._taken: list[Taken] = []
        self._held: dict[tuple[int, int], Taken] = {}  # by id and token: a lost lease may bring an entry twice
        self._more = True  # whether more may be due
        self._closing = False
        self._threads = [
            Thread(target=self._run, name=f"broker-{topic}-{consumers}-{number}", daemon=True)
            for number in range(threads)
        ]

    def start(self, queue: int) -> None:
        self.queue = queue
        for thread in self._threads:
            thread.start()

    def look(self) -> None:
        """Look for due entries with the writer's next transaction."""
        self._more = True

    @property
    def free(self) -> int:
        return 0 if self._closing else len(self._threads) - len(self._held)

    # What the writer calls, in its thread.

    @property
    def wants(self) -> bool:
        return self._more and self.free > 0

    def take(self, store: Store) -> bool:
        free = self.free
        if free <= 0 or not (self._more or self.topic in store.arrived):
            return False
        self._more = False  # before the look: what comes after it sets this again
        lease = Lease(now=self._now(), tick=tick(), length=self._lease, tries=self._tries)
        self._taken = store.take(self.queue, free, lease)
        if len(self._taken) == free:
            self._more = True
        return bool(self._taken)

    def hand_over(self) -> None:
        for taken in self._taken:
            self._held[taken.id, taken.token] = taken
            self._inbox.put(taken)
        self._taken = []

    def forget(self) -> None:
        self._taken = []
        self._more = True

    # What the watcher calls.

    def renew_leases(self) -> None:
        until = tick() + self._lease
        for taken in list(self._held.values()):
            self._writer.put(Write(Store.renew, (until, taken.id, taken.queue, taken.token)))

    # Closing: first all consumers of a broker stop taking, then each is waited for.

    def stop_taking(self) -> None:
        self._closing = True

    def wait(self) -> None:
        """Wait for what is being worked on. The writer must have handed over all that it took."""
        for _ in self._threads:
            self._inbox.put(None)
        for thread in self._threads:
            if thread.ident is not None and thread is not current_thread():
                thread.join()

    def _run(self) -> None:
        while (taken := self._inbox.get()) is not None:
            write = self._give_back(taken) if self._closing else self._work(taken)
            del self._held[taken.id, taken.token]
            try:
                self._writer.put(write)
            except BrokerUnavailable:
                return  # closed from inside the handler; the entry comes again when its lease is over

    def _give_back(self, taken: Taken) -> Write:
        """Nobody tried it: the try does not count."""
        return Write(Store.again, (self._now(), 1, taken.id, taken.queue, taken.token))
