"""Group commit: items that wait at the same moment are executed together, all or none."""

from collections.abc import Callable, Sequence
from math import inf
from typing import Generic, TypeVar

from common.batching.groups import LARGEST_GROUP, Call, Groups, always
from common.deadline import Deadline

Item = TypeVar("Item")
Result = TypeVar("Result")


class NotBatchable(Exception):
    """These items can't be executed together: each is executed again, alone."""


class GroupCommit(Generic[Item, Result]):
    """Executes items in batches; any thread may submit one.

    One batch is under way, unless `at_once` says otherwise. The first caller executes its own item at once. Callers
    that arrive while it does so wait; then the first of them executes all that wait. So a lone call costs what it would
    cost without batching, in its own thread, and under load many calls share one transaction: its statements, its
    commit, its flush.

    Args:
        execute: Executes all items of a batch or none of them, and returns one result for each.
        shared_errors: Errors that every member of a batch shares, such as a database out of reach. Any other error may
            be due to one member: each is then executed alone, in its own thread.
        fits: As that of `Groups`.
        largest_batch: How many items a batch has at most.
        at_once: How many batches are under way at most; one more than one starts only when the others hang (`Groups`).
    """

    def __init__(
        self,
        execute: Callable[[Sequence[Item]], Sequence[Result]],
        *,
        shared_errors: type[Exception] | tuple[type[Exception], ...],
        fits: Callable[[Sequence[Item], Item], bool] = always,
        largest_batch: int = LARGEST_GROUP,
        at_once: int = 1,
    ) -> None:
        self._execute = execute
        self._shared_errors = shared_errors
        self._groups: Groups[Item, Result] = Groups(
            self._execute_batch, fits=fits, largest=largest_batch, at_once=at_once, gather=0
        )

    def submit(self, item: Item, deadline: Deadline | None = None) -> Result:
        """Execute an item, perhaps together with others, and wait for its result; without a deadline, for ever.

        Raises:
            DeadlineExceeded: The caller no longer waits. An item that was being executed may still be.
            Exception: What `execute` raised for this item alone, or a shared error of its batch.
        """
        try:
            return self._groups.submit(item, deadline or _NEVER)
        except NotBatchable:
            return self._execute([item])[0]

    def __len__(self) -> int:
        """How many calls wait for the next batch."""
        return len(self._groups)

    def _execute_batch(self, batch: Sequence[Call[Item, Result]]) -> None:
        if len(batch) == 1:
            batch[0].answer(self._execute([batch[0].item])[0])
            return
        try:
            results = self._execute([call.item for call in batch])
        except self._shared_errors:
            raise
        except BaseException as error:
            for call in batch:
                call.fail(NotBatchable())
            if not isinstance(error, Exception):
                raise  # this thread is being ended; the others are not
        else:
            for call, result in list(zip(batch, results, strict=True)):
                call.answer(result)


class _Never(Deadline):
    """The deadline of whoever waits as long as it takes. Shared by all of them, and nobody hangs up."""

    __slots__ = ()

    def on_cancel(self, tell: Callable[[], None]) -> Callable[[], None]:  # noqa: ARG002 - a listener would never be told
        return _do_nothing


def _do_nothing() -> None:
    pass


_NEVER = _Never(inf)
