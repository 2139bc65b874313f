"""Carries out together what several threads want at the same moment.

There is no thread of its own and no timer. Who comes first carries out what is there, which is his own; those who come
meanwhile wait, and then the first of them carries out what all of them want. So a lone call costs what it would cost by
itself, in its own thread, and under load the many share one transaction: its statements, its commit, its flush.
"""

from collections import deque
from collections.abc import Callable, Sequence
from threading import Lock, get_ident
from typing import Final, Generic, TypeVar

Wanted = TypeVar("Wanted")
Outcome = TypeVar("Outcome")

_MOST: Final = 64


class NotBatchable(Exception):
    """These can't be carried out together; each has to be tried alone."""


class _Waiting(Generic[Wanted, Outcome]):
    """What one thread wants, and what became of it."""

    __slots__ = ("error", "outcome", "told", "wanted")

    def __init__(self, wanted: Wanted) -> None:
        self.wanted = wanted
        self.outcome: list[Outcome] = []  # one, once it is known
        self.error: Exception | None = None
        self.told = Lock()  # held until there is news: the cheapest thing to wait for
        self.told.acquire()


class GroupCommit(Generic[Wanted, Outcome]):
    """Callable by any thread; returns or raises what became of what it wanted.

    Args:
        carry_out: Does all or nothing of what it is given, and returns one outcome for each.
        shared_errors: Errors that every member of a batch shares, such as a database out of reach. Any other error may
            be due to one member: each is then carried out alone, in its own thread.
        most: How many are carried out together.
    """

    def __init__(
        self,
        carry_out: Callable[[Sequence[Wanted]], Sequence[Outcome]],
        *,
        shared_errors: type[Exception] | tuple[type[Exception], ...],
        most: int = _MOST,
    ) -> None:
        self._carry_out = carry_out
        self._shared_errors = shared_errors
        self._most = most
        self._waiting: deque[_Waiting[Wanted, Outcome]] = deque()
        self._at_work = False
        self._worker = 0  # the thread that carries out
        self._changing = Lock()

    def __call__(self, wanted: Wanted) -> Outcome:
        if self._worker == get_ident():  # from within what it carries out: it would wait for itself
            return self._carry_out([wanted])[0]
        mine: _Waiting[Wanted, Outcome] = _Waiting(wanted)
        with self._changing:
            self._waiting.append(mine)
            my_turn = not self._at_work
            self._at_work = True
        if not my_turn:
            mine.told.acquire()  # somebody carried it out, or it is this thread's turn
        if not mine.outcome and mine.error is None:
            self._take_turn()
        if mine.outcome:
            return mine.outcome[0]
        assert mine.error is not None
        if isinstance(mine.error, NotBatchable):
            return self._carry_out([wanted])[0]
        raise mine.error

    def __len__(self) -> int:
        """How many wait for their turn."""
        return len(self._waiting)

    def _take_turn(self) -> None:
        """Carry out what waits; this thread's own is the first of it."""
        with self._changing:
            batch = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
        self._worker = get_ident()
        try:
            self._tell(batch)
        finally:
            self._worker = 0
            with self._changing:
                self._at_work = bool(self._waiting)
                following = self._waiting[0] if self._waiting else None
            if following is not None:
                following.told.release()
            for waiting in batch[1:]:
                waiting.told.release()

    def _tell(self, batch: Sequence[_Waiting[Wanted, Outcome]]) -> None:
        try:
            outcomes = self._carry_out([waiting.wanted for waiting in batch])
        except Exception as error:  # noqa: BLE001 - raised again in each thread that waits
            alone = len(batch) > 1 and not isinstance(error, self._shared_errors)
            for waiting in batch:
                waiting.error = NotBatchable() if alone else error
        except BaseException:
            for waiting in batch:
                waiting.error = NotBatchable()  # this thread is being ended; the others are not
            raise
        else:
            for waiting, outcome in zip(batch, outcomes, strict=True):
                waiting.outcome.append(outcome)
