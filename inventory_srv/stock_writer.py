"""The only way to change stock: one thread that merges the changes that wait into one lock and one transaction.

    callers ──put──▶ queue ──all that waits──▶ lock ▶ hold rows ▶ apply each ▶ write ▶ COMMIT ──▶ answer each

There is no timer: an idle writer takes a single change at once, a busy one finds more waiting and merges them.
"""

import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future
from datetime import datetime, timedelta
from typing import Final, overload

import structlog

from common.clock import Clock
from common.crash_points import Reached, nothing_happens
from common.database import CommitUnknown, Database
from common.deadline import Deadline
from common.errors import DeadlineExceeded, DomainError, Unavailable
from common.lock.port import Lock, LockBusy, LockLost, Outage
from common.metrics import LOCK_UNGUARDED
from inventory_srv.changes import AdjustStock, Answer, Change, Reback, Sell, SetStock, Sheet
from inventory_srv.crash_points import CrashPoint
from inventory_srv.records import Sale, Stock
from inventory_srv.refusals import QueueFull
from inventory_srv.repository import REPEAT_ON, Repository

log = structlog.get_logger(__name__)

_COMMITS: Final = 3
"""How often a batch is tried whose COMMIT got no answer."""

_LOCK_PATIENCE: Final[dict[Outage, timedelta]] = {"database": timedelta(seconds=1), "refuse": timedelta(seconds=5)}

_NOT_WAITED_FOR: Final = 5.0
"""Seconds in which a key is tried but not waited for, after a wait for it was in vain."""

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

    def outcome(self, sheet: Sheet, now: datetime) -> Outcome:
        # Locks and rows may have kept it waiting since it was taken.
        if self.deadline.passed:
            return _too_late()
        try:
            return sheet.apply(self.change, now)
        except DomainError as refusal:
            return refusal
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
        lock_patience: How long a batch waits for the lock of its skus; None: 1 s where it goes on without, else 5 s. A
            living holder gives it back within milliseconds, a dead one keeps it until it expires.
        lock_outage: What then: `database`, go on guarded by the rows alone; or `refuse`, tell the callers STOCK_BUSY.
        reached: Told of every crash point that is passed.
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
        reached: Reached = nothing_happens,
    ) -> None:
        self._database = database
        self._repository = Repository(database)
        self._lock = lock
        self._clock = clock
        self._limit = queue
        self._batch = batch
        self._lock_patience = (lock_patience or _LOCK_PATIENCE[lock_outage]).total_seconds()
        self._lock_outage = lock_outage
        self._in_vain: dict[str, float] = {}  # keys not had, and until when they are not waited for
        self._reached = reached
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

    def _run(self) -> None:
        while taken := self._take():
            batch = [waiting for waiting in taken if waiting.begin()]
            if not batch:
                continue
            for waiting, outcome in zip(batch, self._outcomes(batch), strict=True):
                waiting.tell(outcome)
                self._reached(CrashPoint.CALLER_ANSWERED)

    def _take(self) -> list[_Waiting]:
        """All that waits, up to a batch; nothing when the writer is closed and done."""
        with self._news:
            while not self._queue and not self._closed:
                self._news.wait()
            return [self._queue.popleft() for _ in range(min(len(self._queue), self._batch))]

    def _outcomes(self, batch: Sequence[_Waiting]) -> Sequence[Outcome]:
        """What became of each change of a batch; the writer goes on whatever that is."""
        try:
            self._reached(CrashPoint.BATCH_TAKEN)
            outcomes = self._under_lock(batch)
            self._reached(CrashPoint.LOCK_RELEASED)
        except DomainError as error:
            return [error] * len(batch)
        except Exception as bug:
            # This thread serves everyone: the callers get the bug, and it goes on.
            if len(batch) == 1:
                return [bug]
            log.warning("a merged batch failed: its changes are made one by one", changes=len(batch), exc_info=bug)
            return [outcome for waiting in batch for outcome in self._outcomes([waiting])]
        return outcomes

    def _under_lock(self, batch: Sequence[_Waiting]) -> Sequence[Outcome]:
        keys = self._lock_keys([waiting.change for waiting in batch])
        latest = max(waiting.deadline.at for waiting in batch)
        patience = Deadline(min(latest, Deadline.after(self._lock_patience_for(keys)).at))
        try:
            return self._holding(keys, patience, batch)
        except LockBusy:
            if self._lock_outage == "refuse" or Deadline(latest).passed:
                raise
            # Its holder may be dead, and the lock its own until it expires: nobody's sales wait for that.
            LOCK_UNGUARDED.inc()
            self._note_in_vain(keys, len(batch))
        return self._committed(batch)

    def _lock_patience_for(self, keys: set[str]) -> float:
        now = time.monotonic()
        in_vain = any(self._in_vain.get(key, now) > now for key in keys)
        return 0.0 if in_vain and self._lock_outage == "database" else self._lock_patience

    def _note_in_vain(self, keys: set[str], changes: int) -> None:
        now = time.monotonic()
        known = {key: until for key, until in self._in_vain.items() if until > now}
        if known.keys().isdisjoint(keys):
            log.warning("the stock lock was not had in time: the rows alone guard for now", changes=changes)
            known |= dict.fromkeys(keys, now + _NOT_WAITED_FOR)
        self._in_vain = known

    def _holding(self, keys: set[str], patience: Deadline, batch: Sequence[_Waiting]) -> Sequence[Outcome]:
        outcomes: Sequence[Outcome] = ()
        try:
            with self._lock.holding(keys, patience):
                self._reached(CrashPoint.LOCK_HELD)
                outcomes = self._committed(batch)
                self._reached(CrashPoint.BATCH_COMMITTED)
        except LockLost:
            # No harm: the rows were held. It tells that the lock expires too soon, or that a holder was stopped.
            log.warning("the stock lock was lost before its batch was done", changes=len(batch))
        return outcomes

    def _lock_keys(self, changes: Sequence[Change]) -> set[str]:
        skus = {sku for change in changes if isinstance(change, Sell) for sku in change.skus}
        skus.update(change.sku for change in changes if isinstance(change, SetStock | AdjustStock))
        rebacks = {change.order_sn for change in changes if isinstance(change, Reback)}
        if rebacks:
            with self._database.reading():
                skus |= self._repository.skus_sold_to(rebacks)
        return {f"lock:stock:{sku}" for sku in skus}

    def _committed(self, batch: Sequence[_Waiting]) -> Sequence[Outcome]:
        """Carry out a batch in one transaction.

        When COMMIT gets no answer, the batch is carried out again. That is how to ask what became of it: every change
        has a key, and its row is read holding it (a plain read may come before the old commit lands). What landed is
        found there and gives its first answer; what did not is done now.
        """
        for _ in range(_COMMITS - 1):
            try:
                return self._transaction(batch)
            except CommitUnknown as unknown:
                log.warning("no answer to COMMIT: its batch is looked up", changes=len(batch), exc_info=unknown)
        return self._transaction(batch)

    def _transaction(self, batch: Sequence[_Waiting]) -> Sequence[Outcome]:
        # Another replica wrote the same key first: read again, it is a repeat like any other.
        return self._database.write(lambda: self._apply(batch), repeat_on=REPEAT_ON)

    def _apply(self, batch: Sequence[_Waiting]) -> Sequence[Outcome]:
        sheet = self._repository.hold([waiting.change for waiting in batch])
        self._reached(CrashPoint.ROWS_HELD)
        now = self._clock.now()
        outcomes = [waiting.outcome(sheet, now) for waiting in batch]
        refused = [waiting.change for waiting, outcome in zip(batch, outcomes, strict=True) if _refused(outcome)]
        self._repository.check_refused(sheet, refused)
        self._repository.write(sheet)
        self._reached(CrashPoint.BATCH_WRITTEN)
        return outcomes


def _refused(outcome: Outcome) -> bool:
    return isinstance(outcome, DomainError)


def _too_late() -> DeadlineExceeded:
    return DeadlineExceeded("the caller no longer waits")
