"""Executes a batch of stock changes: lock their skus, hold the rows, apply each change, write, COMMIT.

The lock is kept for the next batch while nobody else waits for it, and then neither the lock nor the rows are asked for
again (`stock_lease.py`). Changes that arrive while a batch waits for its lock join the batch.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from datetime import datetime
from functools import partial
from typing import Final

import structlog

from common.batching import copy_of
from common.clock import Clock
from common.crash_points import CrashHook
from common.database import CommitUnknown, Database
from common.deadline import Deadline
from common.errors import DeadlineExceeded, DomainError
from inventory_srv.adapters.stock_cache import StockCache
from inventory_srv.adapters.stock_lease import StockLease
from inventory_srv.adapters.stock_repository import REPEAT_ON, Repository
from inventory_srv.crash_points import CrashPoint
from inventory_srv.domain.changes import Answer, Change, Origin, Reback, Sell, WorkingSet
from inventory_srv.domain.errors import NoStock

log = structlog.get_logger(__name__)

_COMMITS: Final = 3
"""How often a batch is tried whose COMMIT got no answer."""

Outcome = Answer | Exception
"""What became of one change: its answer, or why it was refused or failed."""


class PendingChange:
    """A change, the future that its caller waits for, and until when."""

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
            self.answer.set_exception(too_late())
            return False
        return True

    def cancel(self) -> None:
        """Withdraw it, if it has not begun."""
        self.answer.cancel()

    def apply(self, working_set: WorkingSet, now: datetime) -> Outcome:
        """Apply it to the working set."""
        # Locks and rows may have kept it waiting since it was taken from the queue.
        if self.deadline.passed:
            return too_late()
        try:
            return working_set.apply(self.change, now)
        except DomainError as refusal:
            return refusal.with_traceback(None)  # which would lead back here
        except Exception as bug:  # noqa: BLE001 one bad change of a batch fails alone
            return bug

    def finish(self, outcome: Outcome) -> None:
        """Answer its caller."""
        if isinstance(outcome, Exception):
            self.answer.set_exception(outcome)
        else:
            self.answer.set_result(outcome)

    @property
    def finished(self) -> bool:
        return self.answer.done() and not self.answer.cancelled()

    def wait(self, timeout: float) -> Outcome:
        """What it was finished with, once that is known.

        Raises:
            TimeoutError: It is not known within `timeout` seconds.
            CancelledError: It was withdrawn.
        """
        return self.answer.exception(timeout) or self.answer.result()  # type: ignore[return-value]  # `finish` sets both


TakeMore = Callable[[set[str], int], list[PendingChange]]
"""Takes changes from the queue that need no other skus than these, in its order, at most so many."""


class BatchExecutor:
    """Executes batches, one at a time.

    Args:
        take_more: Finds what may join a batch that has its lock.
        cache: Gets every committed stock before any caller is answered.
        crash_hook: Called at every crash point.
    """

    def __init__(
        self,
        database: Database,
        lease: StockLease,
        clock: Clock,
        *,
        take_more: TakeMore,
        cache: StockCache,
        crash_hook: CrashHook,
    ) -> None:
        self._database = database
        self._repository = Repository(database)
        self._lease = lease
        self._clock = clock
        self._take_more = take_more
        self._cache = cache
        self._crash_hook = crash_hook

    def execute(self, batch: list[PendingChange], largest: int) -> Sequence[Outcome]:
        """The outcome of each change of a batch, which grows up to `largest`; never raises for any of them."""
        try:
            self._crash_hook(CrashPoint.BATCH_TAKEN)
            outcomes = self._under_lock(batch, largest)
        except DomainError as error:
            return [copy_of(error).with_traceback(None) for _ in batch]  # which would lead back here
        except Exception as bug:
            # The writer's thread serves everyone: the callers get the bug, and it goes on.
            if len(batch) == 1:
                return [bug]
            log.warning("a merged batch failed: its changes are made one by one", changes=len(batch), exc_info=bug)
            return [outcome for pending in batch for outcome in self.execute([pending], 1)]
        return outcomes

    def release_lock(self) -> None:
        """Stop keeping the lock for the next batch."""
        self._lease.release()
        self._crash_hook(CrashPoint.LOCK_RELEASED)

    def _under_lock(self, batch: list[PendingChange], largest: int) -> Sequence[Outcome]:
        skus = self._skus_of([pending.change for pending in batch])
        try:
            latest = Deadline(max(pending.deadline.at for pending in batch))
            self._lease.acquire(skus, latest, one_by_one=largest == 1)
            self._crash_hook(CrashPoint.LOCK_HELD)
            batch += [pending for pending in self._take_more(skus, largest - len(batch)) if pending.begin()]
            outcomes = self._committed(batch)
        except BaseException:
            self._lease.release()
            raise
        self._lease.done()
        return outcomes

    def _skus_of(self, changes: Sequence[Change]) -> set[str]:
        skus = {sku for change in changes for sku in change.skus}
        rebacks = {change.order_sn for change in changes if isinstance(change, Reback)}
        if rebacks:
            with self._database.reading():
                skus |= self._repository.skus_sold_to(rebacks)
        return skus

    def _committed(self, batch: Sequence[PendingChange]) -> Sequence[Outcome]:
        """Execute a batch in one transaction.

        When COMMIT gets no answer, the batch is executed again. That finds out what became of it: every change has a
        key, whose row is written, or read holding it (a plain read may come before the old commit lands). A change that
        landed is found by its key and gets its first answer; one that did not is made now.
        """
        for _ in range(_COMMITS - 1):
            try:
                return self._transaction(batch)
            except CommitUnknown as unknown:
                log.warning("no answer to COMMIT: its batch is executed again", changes=len(batch), exc_info=unknown)
                self._lease.forget()
        return self._transaction(batch)

    def _transaction(self, batch: Sequence[PendingChange]) -> Sequence[Outcome]:
        since = self._cache.now()
        changes = [pending.change for pending in batch]
        first_try = [self._quick_way(changes)]

        def apply() -> tuple[Sequence[Outcome], WorkingSet]:
            if first_try:
                return self._applied(batch, first_try.pop()())
            self._lease.forget()  # a try failed, perhaps because of what was known
            return self._applied(batch, self._repository.hold(changes))

        # Another replica wrote the same key first: read again, it is a repeat like any other.
        outcomes, working_set = self._database.write(apply, repeat_on=REPEAT_ON)
        self._crash_hook(CrashPoint.BATCH_COMMITTED)
        self._cache.changed(working_set.confirmed_stocks(), since)
        self._lease.remember(working_set)
        self._lease.learn_buyers(_short_skus(outcomes), self._find_buyers)
        return outcomes

    def _applied(self, batch: Sequence[PendingChange], working_set: WorkingSet) -> tuple[Sequence[Outcome], WorkingSet]:
        changes = [pending.change for pending in batch]
        self._crash_hook(CrashPoint.ROWS_HELD)
        now = self._clock.now()
        outcomes = [pending.apply(working_set, now) for pending in batch]
        if working_set.may_be_stale and any(map(_refused, outcomes)):
            # A sale based on a stale row is detected when it is written; a refusal must be true by itself.
            working_set = self._repository.hold(changes)
            outcomes = [pending.apply(working_set, now) for pending in batch]
        refused = [pending.change for pending, outcome in zip(batch, outcomes, strict=True) if _refused(outcome)]
        self._repository.check_refused(working_set, refused)
        self._repository.write(working_set)
        self._crash_hook(CrashPoint.BATCH_BEFORE_COMMIT)
        return outcomes, working_set

    def _quick_way(self, changes: Sequence[Change]) -> Callable[[], WorkingSet]:
        """How the transaction gets its rows: sells from this process' memory, from the cache, or by their stocks alone.

        Assumes that none of them is a repeat. If one is, its key exists already: the transaction fails on it or in
        `check_refused`, and the next try reads the sales as well.
        """
        sells = [change for change in changes if isinstance(change, Sell)]
        if len(sells) < len(changes):
            return partial(self._repository.hold, changes)
        skus = sorted({sku for sell in sells for sku in sell.skus})
        if self._lease.holds:
            stocks = self._lease.known(skus)
            if stocks is not None:
                return partial(WorkingSet, stocks, origin=Origin.MEMORY)
            stocks = self._cache.peek(skus)
            if stocks is not None:
                return partial(WorkingSet, stocks, origin=Origin.CACHE)
        return partial(self._repository.hold_stocks, skus)

    def _find_buyers(self, sku: str, limit: int) -> set[str]:
        with self._database.reading():
            return self._repository.buyers(sku, limit)


def too_late() -> DeadlineExceeded:
    """The caller of a change no longer waits for it."""
    return DeadlineExceeded("the caller no longer waits")


def _short_skus(outcomes: Sequence[Outcome]) -> set[str]:
    """What was sold out, or nearly."""
    return {
        violation.subject for outcome in outcomes if isinstance(outcome, NoStock) for violation in outcome.violations
    }


def _refused(outcome: Outcome) -> bool:
    return isinstance(outcome, DomainError)
