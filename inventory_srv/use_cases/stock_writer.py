"""The only way to change stock: one thread that merges the changes that wait into one lock and one transaction.

    callers ──put──▶ queue ──all that waits──▶ lock ▶ hold rows ▶ apply each ▶ write, COMMIT ──▶ answer each

There is no timer: an idle writer takes a single change at once, a busy one finds more waiting and merges them. The lock
is kept for the next batch while nobody else wants it, and then neither it nor the rows are asked for again
(`stock_lease.py`). What comes while a batch waits for its lock joins the batch.
"""

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future
from datetime import datetime, timedelta
from typing import Final, overload

import structlog

from common.clock import Clock
from common.crash_points import CrashHook, no_crash
from common.database import CommitUnknown, Database
from common.deadline import Deadline
from common.errors import DeadlineExceeded, DomainError, Unavailable
from common.lock.port import Lock, Outage
from inventory_srv.adapters.stock_cache import StockCache
from inventory_srv.adapters.stock_lease import StockLease
from inventory_srv.adapters.stock_repository import REPEAT_ON, Repository
from inventory_srv.crash_points import CrashPoint
from inventory_srv.domain.changes import AdjustStock, Answer, Change, Origin, Reback, Sell, SetStock, WorkingSet
from inventory_srv.domain.errors import NoStock, QueueFull
from inventory_srv.domain.records import Sale, Stock

log = structlog.get_logger(__name__)

_COMMITS: Final = 3
"""How often a batch is tried whose COMMIT got no answer."""

_KEEP_LOCK: Final = timedelta(seconds=1)

Outcome = Answer | Exception
"""What one change came to: its caller is told, or is refused."""


class _Waiting:
    """A change in the queue, who waits for it and until when."""

    __slots__ = ("answer", "change", "deadline")

    def __init__(self, change: Change, deadline: Deadline) -> None:
        self.change = change
        self.deadline = deadline
        self.answer: Future[Answer] = Future()

    def begin(self) -> bool:
        """Whether its caller still waits; from here on it can't be withdrawn."""
        if not self.answer.set_running_or_notify_cancel():
            return False
        if self.deadline.passed:
            self.answer.set_exception(_too_late())
            return False
        return True

    def cancel(self) -> None:
        """Take it back, if it has not begun."""
        self.answer.cancel()

    def outcome(self, working_set: WorkingSet, now: datetime) -> Outcome:
        # Locks and rows may have kept it waiting since it was taken.
        if self.deadline.passed:
            return _too_late()
        try:
            return working_set.apply(self.change, now)
        except DomainError as refusal:
            return refusal.with_traceback(None)  # which would lead back here
        except Exception as bug:  # noqa: BLE001 one bad change of a batch fails alone
            return bug

    def tell(self, outcome: Outcome) -> None:
        if isinstance(outcome, Exception):
            self.answer.set_exception(outcome)
        else:
            self.answer.set_result(outcome)


class StockWriter:
    """Carries out changes of stock, in the order they come, as many at once as wait.

    Args:
        queue: How many changes may wait.
        batch: How many are merged at most; 1: no merging.
        lock_patience, lock_outage, keep_lock: `patience`, `outage` and `keep` of the `StockLease`.
        cache: Told of every stock that was committed, before anybody is answered.
        crash_hook: Told of every crash point that is passed.
    """

    def __init__(
        self,
        database: Database,
        lock: Lock,
        clock: Clock,
        *,
        queue: int = 4096,
        batch: int = 256,
        lock_patience: timedelta | None = None,
        lock_outage: Outage = "database",
        keep_lock: timedelta = _KEEP_LOCK,
        cache: StockCache | None = None,
        crash_hook: CrashHook = no_crash,
    ) -> None:
        self._database = database
        self._repository = Repository(database)
        self._lease = StockLease(
            lock, patience=lock_patience, outage=lock_outage, keep=keep_lock, on_contended=self._wake_up
        )
        self._clock = clock
        self._limit = queue
        self._batch = batch
        self._cache = cache or StockCache.none()
        self._crash_hook = crash_hook
        self._queue: deque[_Waiting] = deque()
        self._news = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="stock-writer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Take no more changes, finish those that were taken, stop."""
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
            The answer, when the change is committed; or the error it was refused with. Cancel it to take back a change
            that still waits.

        Raises:
            QueueFull: As many wait already as may.
            Unavailable: The writer is closed.
        """
        return self._put(change, deadline).answer  # type: ignore[return-value]  # which answer is the rules' promise

    @overload
    def carry_out(self, change: Sell | Reback, deadline: Deadline) -> Sale: ...
    @overload
    def carry_out(self, change: SetStock | AdjustStock, deadline: Deadline) -> Stock: ...
    def carry_out(self, change: Change, deadline: Deadline) -> Answer:
        """Queue a change and wait for its answer; it leaves the queue when its caller hangs up or waited long enough.

        Raises:
            DeadlineExceeded: The caller no longer waits. A change that was being applied may still be committed.
            DomainError: It was refused, could not be queued, or nobody knows what became of it (Unavailable).
        """
        if isinstance(change, Sell):
            self._lease.refuse_what_is_sold_out(change)
        waiting = self._put(change, deadline)
        forget = deadline.on_cancel(waiting.cancel)
        try:
            return waiting.answer.result(deadline.remaining())
        except (TimeoutError, CancelledError):
            self._withdraw(waiting)
            if waiting.answer.done() and not waiting.answer.cancelled():
                return waiting.answer.result()  # it came at the last moment, or that was its own error
            raise _too_late() from None
        finally:
            forget()
            # They have the error, and it has this frame: a circle, for the garbage collector.
            del waiting, forget

    def _put(self, change: Change, deadline: Deadline) -> _Waiting:
        waiting = _Waiting(change, deadline)
        with self._news:
            if self._closed:
                raise Unavailable("the service is stopping", reason="STOPPING")
            if len(self._queue) >= self._limit:
                raise QueueFull(self._limit)
            self._queue.append(waiting)
            if len(self._queue) == 1:
                self._news.notify()
        return waiting

    def _withdraw(self, waiting: _Waiting) -> None:
        waiting.cancel()
        with self._news:
            if waiting in self._queue:
                self._queue.remove(waiting)

    def _wake_up(self) -> None:
        with self._news:
            self._news.notify()

    def _run(self) -> None:
        while self._wait_for_changes():
            batch = [waiting for waiting in self._take() if waiting.begin()]
            if not batch:
                continue
            for waiting, outcome in zip(batch, self._outcomes(batch, self._batch), strict=True):
                waiting.tell(outcome)
                self._crash_hook(CrashPoint.CALLER_ANSWERED)
        self._let_go()

    def _wait_for_changes(self) -> bool:
        """Whether there are any; none when the writer is closed and done."""
        while True:
            with self._news:
                if not self._queue and not self._closed:
                    # Asked for here: what wakes it up, as that somebody wants the lock, can't come between the two.
                    self._news.wait(self._lease.spare_time())
                if self._queue:
                    return True
                if self._closed:
                    return False
            if self._lease.spare_time() == 0:
                self._let_go()

    def _let_go(self) -> None:
        self._lease.let_go()
        self._crash_hook(CrashPoint.LOCK_RELEASED)

    def _take(self) -> list[_Waiting]:
        """All that waits, up to a batch."""
        with self._news:
            return [self._queue.popleft() for _ in range(min(len(self._queue), self._batch))]

    def _outcomes(self, batch: list[_Waiting], most: int) -> Sequence[Outcome]:
        """What became of each change of a batch, which grows up to `most`; the writer goes on whatever that is."""
        try:
            self._crash_hook(CrashPoint.BATCH_TAKEN)
            outcomes = self._under_lock(batch, most)
        except DomainError as error:
            return [error] * len(batch)
        except Exception as bug:
            # This thread serves everyone: the callers get the bug, and it goes on.
            if len(batch) == 1:
                return [bug]
            log.warning("a merged batch failed: its changes are made one by one", changes=len(batch), exc_info=bug)
            return [outcome for waiting in batch for outcome in self._outcomes([waiting], 1)]
        return outcomes

    def _under_lock(self, batch: list[_Waiting], most: int) -> Sequence[Outcome]:
        skus = self._skus_of([waiting.change for waiting in batch])
        try:
            latest = Deadline(max(waiting.deadline.at for waiting in batch))
            self._lease.take(skus, latest, one_by_one=most == 1)
            self._crash_hook(CrashPoint.LOCK_HELD)
            self._top_up(batch, most, skus)
            outcomes = self._committed(batch)
        except BaseException:
            self._lease.let_go()
            raise
        self._lease.done()
        return outcomes

    def _top_up(self, batch: list[_Waiting], most: int, skus: set[str]) -> None:
        """Add what came while the batch waited for its lock and needs no other skus, in its order."""
        more: list[_Waiting] = []
        with self._news:
            while self._queue and len(batch) + len(more) < most:
                change = self._queue[0].change
                if isinstance(change, Reback) or not skus.issuperset(change.skus):
                    break
                more.append(self._queue.popleft())
        batch += [waiting for waiting in more if waiting.begin()]

    def _skus_of(self, changes: Sequence[Change]) -> set[str]:
        skus = {sku for change in changes for sku in change.skus}
        rebacks = {change.order_sn for change in changes if isinstance(change, Reback)}
        if rebacks:
            with self._database.reading():
                skus |= self._repository.skus_sold_to(rebacks)
        return skus

    def _committed(self, batch: Sequence[_Waiting]) -> Sequence[Outcome]:
        """Carry out a batch in one transaction.

        When COMMIT gets no answer, the batch is carried out again. That is how to ask what became of it: every change
        has a key, and its row is written, or read holding it (a plain read may come before the old commit lands). What
        landed is found by that and gives its first answer; what did not is done now.
        """
        for _ in range(_COMMITS - 1):
            try:
                return self._transaction(batch)
            except CommitUnknown as unknown:
                log.warning("no answer to COMMIT: its batch is looked up", changes=len(batch), exc_info=unknown)
                self._lease.forget()
        return self._transaction(batch)

    def _transaction(self, batch: Sequence[_Waiting]) -> Sequence[Outcome]:
        since = self._cache.now()
        unread = [self._sheet_without_reading([waiting.change for waiting in batch])]

        def apply() -> tuple[Sequence[Outcome], WorkingSet]:
            if unread:
                return self._applied(batch, unread.pop())
            self._lease.forget()  # a try failed, perhaps because of what was known
            return self._applied(batch, None)

        # Another replica wrote the same key first: read again, it is a repeat like any other.
        outcomes, working_set = self._database.write(apply, repeat_on=REPEAT_ON)
        self._crash_hook(CrashPoint.BATCH_COMMITTED)
        self._cache.changed(working_set.confirmed_stocks(), since)
        self._lease.remember(working_set)
        self._lease.learn_buyers(_short_skus(outcomes), self._buyers)
        return outcomes

    def _applied(
        self, batch: Sequence[_Waiting], working_set: WorkingSet | None
    ) -> tuple[Sequence[Outcome], WorkingSet]:
        changes = [waiting.change for waiting in batch]
        working_set = working_set or self._repository.hold(changes)
        self._crash_hook(CrashPoint.ROWS_HELD)
        now = self._clock.now()
        outcomes = [waiting.outcome(working_set, now) for waiting in batch]
        if working_set.may_be_stale and any(map(_refused, outcomes)):
            # A sale of what is not so is found out as it is written; a refusal has to be true by itself.
            working_set = self._repository.hold(changes)
            outcomes = [waiting.outcome(working_set, now) for waiting in batch]
        refused = [waiting.change for waiting, outcome in zip(batch, outcomes, strict=True) if _refused(outcome)]
        self._repository.check_refused(working_set, refused)
        self._repository.write(working_set)
        self._crash_hook(CrashPoint.BATCH_BEFORE_COMMIT)
        return outcomes, working_set

    def _sheet_without_reading(self, changes: Sequence[Change]) -> WorkingSet | None:
        """The sheet of sells out of this process' memory, or else out of the cache.

        That none of them was made before is taken for granted: if one was, its key is there already, the transaction
        fails of it or of `check_refused`, and the rows are read for another try.
        """
        sells = [change for change in changes if isinstance(change, Sell)]
        if len(sells) < len(changes) or not self._lease.holds:
            return None
        skus = sorted({sku for sell in sells for sku in sell.skus})
        stocks = self._lease.known(skus)
        if stocks is not None:
            return WorkingSet(stocks, origin=Origin.MEMORY)
        stocks = self._cache.peek(skus)
        return None if stocks is None else WorkingSet(stocks, origin=Origin.CACHE)

    def _buyers(self, sku: str, limit: int) -> set[str]:
        with self._database.reading():
            return self._repository.buyers(sku, limit)


def _short_skus(outcomes: Sequence[Outcome]) -> set[str]:
    """What was sold out, or nearly."""
    return {
        violation.subject for outcome in outcomes if isinstance(outcome, NoStock) for violation in outcome.violations
    }


def _refused(outcome: Outcome) -> bool:
    return isinstance(outcome, DomainError)


def _too_late() -> DeadlineExceeded:
    return DeadlineExceeded("the caller no longer waits")
