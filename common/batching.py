"""Group commit: calls that arrive while one is running are executed together, as the next batch.

There is no thread of its own and no timer. The first caller executes its own item at once. Callers that arrive while it
does so wait; then the first of them executes all that wait. So a lone call costs what it would cost without batching,
in its own thread, and under load many calls share one transaction: its statements, its commit, its flush.
"""

from collections import deque
from collections.abc import Callable, Sequence
from threading import Lock, get_ident
from typing import Final, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_LARGEST_BATCH: Final = 64


class NotBatchable(Exception):
    """These items can't be executed together: each is executed again, alone."""


class _Call(Generic[Item, Result]):
    """One caller's item, and its result or error once it is known."""

    __slots__ = ("error", "item", "result", "woken")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.result: list[Result] = []  # one, once it is known
        self.error: Exception | None = None
        self.woken = Lock()  # held until its caller may go on: the cheapest thing to wait for
        self.woken.acquire()


class GroupCommit(Generic[Item, Result]):
    """Executes items in batches; any thread may submit one.

    Args:
        execute: Executes all items of a batch or none of them, and returns one result for each.
        shared_errors: Errors that every member of a batch shares, such as a database out of reach. Any other error may
            be due to one member: each is then executed alone, in its own thread.
        largest_batch: How many items a batch has at most.
    """

    def __init__(
        self,
        execute: Callable[[Sequence[Item]], Sequence[Result]],
        *,
        shared_errors: type[Exception] | tuple[type[Exception], ...],
        largest_batch: int = _LARGEST_BATCH,
    ) -> None:
        self._execute = execute
        self._shared_errors = shared_errors
        self._largest_batch = largest_batch
        self._waiting: deque[_Call[Item, Result]] = deque()
        self._busy = False
        self._leader = 0  # the thread that executes a batch
        self._mutex = Lock()

    def submit(self, item: Item) -> Result:
        """Execute an item, perhaps together with others, and wait for its result.

        Raises:
            Exception: What `execute` raised for this item alone, or a shared error of its batch.
        """
        if self._leader == get_ident():  # called by `execute` itself: it would wait for its own end
            return self._execute([item])[0]
        call: _Call[Item, Result] = _Call(item)
        with self._mutex:
            self._waiting.append(call)
            leads = not self._busy
            self._busy = True
        if not leads:
            call.woken.acquire()  # it was executed, or this thread leads the next batch
        if not call.result and call.error is None:
            self._lead_batch()
        if call.result:
            return call.result[0]
        assert call.error is not None
        if isinstance(call.error, NotBatchable):
            return self._execute([item])[0]
        raise call.error

    def __len__(self) -> int:
        """How many calls wait for the next batch."""
        return len(self._waiting)

    def _lead_batch(self) -> None:
        """Execute what waits (this thread's own item comes first), and wake the leader of the next batch."""
        with self._mutex:
            batch = [self._waiting.popleft() for _ in range(min(self._largest_batch, len(self._waiting)))]
        self._leader = get_ident()
        try:
            self._execute_batch(batch)
        finally:
            self._leader = 0
            with self._mutex:
                self._busy = bool(self._waiting)
                next_leader = self._waiting[0] if self._waiting else None
            if next_leader is not None:
                next_leader.woken.release()
            for call in batch[1:]:
                call.woken.release()

    def _execute_batch(self, batch: Sequence[_Call[Item, Result]]) -> None:
        try:
            results = self._execute([call.item for call in batch])
        except Exception as error:  # noqa: BLE001 - raised again in each thread that waits
            alone = len(batch) > 1 and not isinstance(error, self._shared_errors)
            for call in batch:
                call.error = NotBatchable() if alone else error
        except BaseException:
            for call in batch:
                call.error = NotBatchable()  # this thread is being ended; the others are not
            raise
        else:
            for call, result in zip(batch, results, strict=True):
                call.result.append(result)
