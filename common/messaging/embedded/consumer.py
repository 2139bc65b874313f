"""Leases the entries of one queue, and has a few threads process them."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from queue import SimpleQueue
from threading import Thread, current_thread

from common.messaging.embedded.store import LeasedEntry, LeaseTerms, Store
from common.messaging.embedded.writer import Write, Writer
from common.messaging.port import BrokerUnavailable

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FOR_EVER = 1 << 62


def micros(span: timedelta) -> int:
    """The span in whole microseconds, at most 146,000 years: what the table can hold."""
    return min(span // timedelta(microseconds=1), _FOR_EVER)


def micros_since_epoch(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def moment_at(micros_since: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros_since)


def monotonic_micros() -> int:
    """Microseconds on the machine's monotonic clock, the same for all processes."""
    return time.monotonic_ns() // 1000


class Consumer:
    """The entries of one queue, each processed by one of a few threads.

    Args:
        topic: With the prefix.
        consumers: Whose queue it is: a group, CHECK_BACK or RECHECK.
        threads: How many entries are processed at once; no more are leased.
        tries: After how many attempts an entry becomes a dead letter instead of being leased again. 0: never.
        process: Processes an entry, and returns what to write then. It must not raise.
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
        process: Callable[[LeasedEntry], Write],
    ) -> None:
        self.topic = topic
        self.consumers = consumers
        self.queue = 0
        self._tries = tries
        self._lease = micros(lease)
        self._now = now
        self._writer = writer
        self._process = process
        self._inbox: SimpleQueue[LeasedEntry | None] = SimpleQueue()
        self._leased: list[LeasedEntry] = []
        self._in_progress: dict[tuple[int, int], LeasedEntry] = {}  # by id and token: it may be here twice
        self._more = True  # more may be due
        self._closing = False
        self._threads = [
            Thread(target=self._run, name=f"broker-{topic}-{consumers}-{number}", daemon=True)
            for number in range(threads)
        ]

    def start(self, queue: int) -> None:
        self.queue = queue
        for thread in self._threads:
            thread.start()

    def look_for_due(self) -> None:
        """Look for due entries in the writer's next transaction."""
        self._more = True

    @property
    def free(self) -> int:
        return 0 if self._closing else len(self._threads) - len(self._in_progress)

    # Called by the writer, in its thread.

    @property
    def wants_more(self) -> bool:
        return self._more and self.free > 0

    def lease(self, store: Store) -> bool:
        free = self.free
        if free <= 0 or not (self._more or self.topic in store.arrived):
            return False
        self._more = False  # before the query: what arrives after it sets this again
        terms = LeaseTerms(now=self._now(), monotonic_now=monotonic_micros(), length=self._lease, tries=self._tries)
        self._leased = store.lease(self.queue, free, terms)
        if len(self._leased) == free:
            self._more = True
        return bool(self._leased)

    def dispatch(self) -> None:
        for entry in self._leased:
            self._in_progress[entry.id, entry.token] = entry
            self._inbox.put(entry)
        self._leased = []

    def discard(self) -> None:
        self._leased = []
        self._more = True

    # Called by the watcher.

    def renew_leases(self) -> None:
        until = monotonic_micros() + self._lease
        for entry in list(self._in_progress.values()):
            self._writer.put(Write(Store.renew, (until, entry.id, entry.queue, entry.token)))

    # Closing: first all consumers of a broker stop leasing, then each is waited for.

    def stop_leasing(self) -> None:
        self._closing = True

    def wait(self) -> None:
        """Wait for the entries in process. The writer must have dispatched all that it leased."""
        for _ in self._threads:
            self._inbox.put(None)
        for thread in self._threads:
            if thread.ident is not None and thread is not current_thread():
                thread.join()

    def _run(self) -> None:
        while (entry := self._inbox.get()) is not None:
            write = self._release(entry) if self._closing else self._process(entry)
            del self._in_progress[entry.id, entry.token]
            try:
                self._writer.put(write)
            except BrokerUnavailable:
                return  # closed from inside the handler; the entry comes again when its lease ends

    def _release(self, entry: LeasedEntry) -> Write:
        """Return an entry that nobody began: the attempt does not count."""
        return Write(Store.release, (self._now(), 1, entry.id, entry.queue, entry.token))
