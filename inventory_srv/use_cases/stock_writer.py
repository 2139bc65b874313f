"""The only way to change stock: a queue, and one thread that merges the changes that wait into one batch.

    callers ──put──▶ queue ──all that waits──▶ BatchExecutor (batch_executor.py) ──▶ answer each

There is no timer: an idle writer takes a single change at once, a busy one finds more waiting and merges them.
"""

import threading
from collections import deque
from collections.abc import Collection, Sequence
from concurrent.futures import CancelledError, Future
from datetime import timedelta
from typing import Final, cast, overload

from common.clock import Clock
from common.crash_points import CrashHook, no_crash
from common.database import Database
from common.deadline import Deadline
from common.errors import Unavailable
from common.lock.port import Lock
from inventory_srv.adapters.stock_cache import StockCache
from inventory_srv.adapters.stock_lease import StockLease
from inventory_srv.crash_points import CrashPoint
from inventory_srv.domain.changes import AdjustStock, Answer, Change, Reback, Sell, SetStock
from inventory_srv.domain.errors import NoStock, QueueFull
from inventory_srv.domain.records import Sale, Stock
from inventory_srv.settings import Outage
from inventory_srv.use_cases.batch_executor import BatchExecutor, Outcome, PendingChange, too_late

_KEEP_LOCK: Final = timedelta(seconds=1)


class StockWriter:
    """Carries out changes of stock, in the order of arrival, merging those that wait.

    Args:
        queue: How many changes may wait.
        batch: How many are merged at most; 1: no merging.
        lock_timeout, lock_outage, keep_lock: `timeout`, `outage` and `keep` of the `StockLease`.
        cache: Gets every committed stock before any caller is answered.
        crash_hook: Called at every crash point.
    """

    def __init__(
        self,
        database: Database,
        lock: Lock,
        clock: Clock,
        *,
        queue: int = 4096,
        batch: int = 256,
        lock_timeout: timedelta | None = None,
        lock_outage: Outage = "database",
        keep_lock: timedelta = _KEEP_LOCK,
        cache: StockCache | None = None,
        crash_hook: CrashHook = no_crash,
    ) -> None:
        self._lease = StockLease(
            lock, timeout=lock_timeout, outage=lock_outage, keep=keep_lock, on_contended=self._wake_up
        )
        self._executor = BatchExecutor(
            database,
            self._lease,
            clock,
            take_more=self._take_more,
            cache=cache or StockCache.none(),
            crash_hook=crash_hook,
        )
        self._limit = queue
        self._batch = batch
        self._crash_hook = crash_hook
        self._queue: deque[PendingChange] = deque()
        self._news = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="stock-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Take no more changes, finish those that wait, stop."""
        with self._news:
            self._closed = True
            self._news.notify()
        if self._thread.ident is not None:
            self._thread.join()

    @overload
    def put(self, change: Sell | Reback, deadline: Deadline) -> "Future[Sale]": ...
    @overload
    def put(self, change: SetStock | AdjustStock, deadline: Deadline) -> "Future[Stock]": ...
    def put(self, change: Change, deadline: Deadline) -> Future[Sale] | Future[Stock]:
        """Queue a change.

        Args:
            change: What to do.
            deadline: When it has passed, the change is dropped, unless it is being applied already.

        Returns:
            The answer, once the change is committed; or the error it was refused with. Cancel it to withdraw a change
            that still waits.

        Raises:
            QueueFull: The queue is at its limit.
            Unavailable: The writer is closed.
        """
        return self._put([change], deadline)[0].answer  # type: ignore[return-value]  # the rules answer each kind with its own

    @overload
    def carry_out(self, change: Sell | Reback, deadline: Deadline) -> Sale: ...
    @overload
    def carry_out(self, change: SetStock | AdjustStock, deadline: Deadline) -> Stock: ...
    def carry_out(self, change: Change, deadline: Deadline) -> Answer:
        """Queue a change and wait for its answer; it leaves the queue when its caller hangs up or its deadline passes.

        Raises:
            DeadlineExceeded: The caller no longer waits. A change that was being applied may still be committed.
            DomainError: It was refused, could not be queued, or its outcome is unknown (Unavailable).
        """
        outcome = self.carry_out_all([change], deadline)[0]
        if not isinstance(outcome, Exception):
            return outcome
        try:
            raise outcome
        finally:
            del outcome  # it has this frame: a circle, for the garbage collector

    @overload
    def carry_out_all(self, changes: Sequence[Sell | Reback], deadline: Deadline) -> list[Sale | Exception]: ...
    @overload
    def carry_out_all(self, changes: Sequence[Change], deadline: Deadline) -> list[Outcome]: ...
    def carry_out_all(self, changes: Sequence[Change], deadline: Deadline) -> list[Outcome] | list[Sale | Exception]:
        """Queue changes, all or none, and wait for the outcome of each: its answer, or the error that it ended with.

        Each is a change of its own: refused or failed, it leaves the others alone. They are merged like any that wait,
        and those that have not begun leave the queue when their caller hangs up or the deadline passes.

        Raises:
            QueueFull: The queue has no room for all of them; nothing is done.
            Unavailable: The writer is closed; nothing is done.
            DeadlineExceeded: The caller no longer waits. Changes that were being applied may still be committed.
        """
        outcomes: list[Outcome | None] = [self._known_refusal(change) for change in changes]
        queued = [at for at, refusal in enumerate(outcomes) if refusal is None]
        if queued:
            pending = self._put([changes[at] for at in queued], deadline)
            for at, outcome in zip(queued, self._outcomes(pending, deadline), strict=True):
                outcomes[at] = outcome
        return cast("list[Outcome]", outcomes)

    def _known_refusal(self, change: Change) -> NoStock | None:
        return self._lease.known_refusal(change) if isinstance(change, Sell) else None

    def _put(self, changes: Sequence[Change], deadline: Deadline) -> list[PendingChange]:
        pending = [PendingChange(change, deadline) for change in changes]
        with self._news:
            if self._closed:
                raise Unavailable("the service is stopping", reason="STOPPING")
            if len(self._queue) + len(pending) > self._limit:
                raise QueueFull(self._limit)
            if not self._queue:
                self._news.notify()
            self._queue.extend(pending)
        return pending

    def _outcomes(self, pending: Sequence[PendingChange], deadline: Deadline) -> list[Outcome]:
        def withdraw() -> None:
            for each in pending:
                each.cancel()

        forget = deadline.on_cancel(withdraw)
        try:
            # Waiting for the last of the queue first, this thread wakes up once, when all of them are known.
            return [each.wait(deadline.remaining()) for each in reversed(pending)][::-1]
        except (TimeoutError, CancelledError):
            withdraw()
            self._leave_queue(pending)
            if all(each.finished for each in pending):
                return [each.wait(0) for each in pending]  # it came at the last moment
            raise too_late() from None
        finally:
            forget()

    def _leave_queue(self, withdrawn: Collection[PendingChange]) -> None:
        leaving = set(withdrawn)
        with self._news:
            self._queue = deque(pending for pending in self._queue if pending not in leaving)

    def _wake_up(self) -> None:
        with self._news:
            self._news.notify()

    def _run(self) -> None:
        while self._wait_for_changes():
            batch = [pending for pending in self._take_batch() if pending.begin()]
            if not batch:
                continue
            for pending, outcome in zip(batch, self._executor.execute(batch, self._batch), strict=True):
                pending.finish(outcome)
                self._crash_hook(CrashPoint.CALLER_ANSWERED)
        self._executor.release_lock()

    def _wait_for_changes(self) -> bool:
        """Whether there are any; none when the writer is closed and done."""
        while True:
            with self._news:
                if not self._queue and not self._closed:
                    # Read under the lock, so that no wake-up is lost between the check and the wait.
                    self._news.wait(self._lease.spare_time())
                if self._queue:
                    return True
                if self._closed:
                    return False
            if self._lease.spare_time() == 0:
                self._executor.release_lock()

    def _take_batch(self) -> list[PendingChange]:
        """All that waits, up to a batch."""
        with self._news:
            return [self._queue.popleft() for _ in range(min(len(self._queue), self._batch))]

    def _take_more(self, skus: set[str], most: int) -> list[PendingChange]:
        """What waits at the front of the queue and needs no other skus; at most so many."""
        more: list[PendingChange] = []
        with self._news:
            while self._queue and len(more) < most:
                change = self._queue[0].change
                if isinstance(change, Reback) or not skus.issuperset(change.skus):
                    break
                more.append(self._queue.popleft())
        return more
