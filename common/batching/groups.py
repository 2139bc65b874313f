"""Groups: calls that wait at the same moment are carried out together, by the first of them.

    submit ──▶ the queue ──the first, with those that fit──▶ execute ──▶ answer each

There is no thread of its own: the first in the queue leads, in its own thread. So there is one rule to keep: whatever
changes who is the first, or whether it may start a group, wakes the first, and it decides by itself. Nobody else is
woken before its own call is settled.
"""

import time
from collections.abc import Callable, Sequence
from math import inf
from threading import TIMEOUT_MAX, Lock, get_ident
from typing import Final, Generic, TypeVar, cast

import structlog

from common.batching.error_copy import copy_of
from common.deadline import Deadline
from common.errors import DeadlineExceeded, Unavailable

Item = TypeVar("Item")
Result = TypeVar("Result")

LARGEST_GROUP: Final = 64

log = structlog.get_logger(__name__)


class Call(Generic[Item, Result]):
    """One caller's item, and its outcome once it is known. Any thread may settle it.

    Attributes:
        item: What to carry out.
        deadline: Until when its caller waits.
    """

    __slots__ = ("_outcomes", "_woken", "deadline", "item")

    def __init__(self, item: Item, deadline: Deadline) -> None:
        self.item = item
        self.deadline = deadline
        self._outcomes: list[tuple[Result | None, Exception | None]] = []  # the first counts; append is atomic
        self._woken: Lock | None = None  # held while its caller has nothing to do: the cheapest thing to wait for

    @property
    def settled(self) -> bool:
        """Whether it has its outcome; also that of a caller that no longer waits."""
        return bool(self._outcomes)

    def answer(self, result: Result) -> None:
        """Give the caller its result, at once, even while the group goes on. What comes after an outcome is ignored."""
        self._outcomes.append((result, None))
        self.wake()

    def fail(self, error: Exception) -> None:
        """Give the caller its error, as `answer` does.

        Args:
            error: Raised in the caller's thread, so it must be this call's alone: see `copy_of`.
        """
        self._outcomes.append((None, error))
        self.wake()

    def result(self) -> Result:
        """What it was answered, once it is settled.

        Raises:
            Exception: What it failed with.
        """
        result, error = self._outcomes[0]
        if error is None:
            return cast("Result", result)
        try:
            raise error
        finally:
            del self, error  # the error has this frame: a circle, for the garbage collector

    # What follows is for Groups.

    def prepare_to_wait(self) -> None:
        self._woken = Lock()
        self._woken.acquire()

    def wait(self, timeout: float) -> None:
        """Sleep for so many seconds or until woken, which may have happened already."""
        assert self._woken is not None
        self._woken.acquire(timeout=min(timeout, TIMEOUT_MAX))

    def wake(self) -> None:
        if self._woken is not None:
            try:  # noqa: SIM105 - suppress() costs more than the wake
                self._woken.release()
            except RuntimeError:
                pass  # it was woken before, and has not slept since


def always(_taken: Sequence[object], _item: object) -> bool:
    """Any item fits into any group."""
    return True


class Groups(Generic[Item, Result]):
    """Carries out the calls of one moment together; any thread may submit one.

    One group is under way. A further one starts only when those under way are all old, so that one that hangs
    does not hold up everybody, or while they are small, so that few callers wait for nobody. A call alone is a group of
    one, with nothing to wait for.

    Args:
        execute: Carries out a group: settles each of its calls, in any order, as soon as it can. An error that it
            raises goes to those that it has not settled.
        fits: Whether an item may join those taken so far; if not, it waits for the next group. Asked under a lock: it
            must be quick. An item that it fails on goes alone.
        largest: How many calls a group has at most.
        at_once: How many groups are under way at most.
        next_after: How old, in seconds, those under way are when a further one starts.
        beside: How many calls those under way hold at most, in all, when a further one starts sooner; 0: it never does.
        gather: For how many seconds, after the end of a group that held more than one, the next waits for as many to
            come. Those who were answered come again; without this the first of them would go alone.
    """

    def __init__(
        self,
        execute: Callable[[Sequence[Call[Item, Result]]], None],
        *,
        fits: Callable[[Sequence[Item], Item], bool] = always,
        largest: int = LARGEST_GROUP,
        at_once: int = 4,
        next_after: float = 0.1,
        beside: int = 0,
        gather: float = 0.005,
    ) -> None:
        self._execute = execute
        self._fits = fits
        self._largest = largest
        self._at_once = at_once
        self._next_after = next_after
        self._beside = beside
        self._gather = gather
        self._waiting: dict[Call[Item, Result], None] = {}  # in order of arrival
        self._started: dict[int, float] = {}  # when each group under way was taken, by the thread that leads it
        self._under_way = 0  # calls, in these groups
        self._last_size = 1  # of the group that ended last
        self._last_end = -inf
        self._mutex = Lock()

    def submit(self, item: Item, deadline: Deadline) -> Result:
        """Carry out an item, perhaps together with others, and wait for its result.

        Called by `execute` itself, in its own thread, the item is carried out at once: it would wait for its own end.

        Raises:
            DeadlineExceeded: The caller no longer waits. An item that was being carried out may still be.
            Unavailable: The thread that carried it out was ended meanwhile.
            Exception: What the item failed with, or its group.
        """
        if deadline.passed:
            raise _too_late()
        call: Call[Item, Result] = Call(item, deadline)
        if get_ident() in self._started:
            self._carry_out([call])
        elif group := self._enter(call) or self._wait(call):
            self._lead(group)
        try:
            return call.result()
        finally:
            del call  # see Call.result
            group = ()

    def __len__(self) -> int:
        """How many calls wait for a group."""
        return len(self._waiting)

    # The queue

    def _enter(self, call: Call[Item, Result]) -> Sequence[Call[Item, Result]]:
        """Join the queue; the group that this call leads, if that may start at once."""
        with self._mutex:
            self._waiting[call] = None
            if len(self._waiting) == 1 and self._pause() <= 0:
                return self._take()
            call.prepare_to_wait()
            if len(self._waiting) == self._last_size and time.monotonic() < self._last_end + self._gather:
                self._wake_first()  # it waits for so many
        return ()

    def _wait(self, call: Call[Item, Result]) -> Sequence[Call[Item, Result]]:
        """Wait until it is settled, or leads the group that is returned."""
        forget = call.deadline.on_cancel(call.wake)
        try:
            while not call.settled:
                if call.deadline.passed:
                    call.fail(_too_late())
                    break
                with self._mutex:
                    pause = self._pause() if self._first() is call else inf
                    if pause <= 0:
                        return self._take()
                call.wait(min(pause, call.deadline.remaining()))
        finally:
            forget()
            self._leave(call)  # it may have expired, or this thread is being ended
        return ()

    def _leave(self, call: Call[Item, Result]) -> None:
        if call in self._waiting:  # else it was taken, for good
            with self._mutex:
                was_first = self._first() is call
                self._waiting.pop(call, None)
                if was_first:
                    self._wake_first()

    def _first(self) -> Call[Item, Result] | None:
        return next(iter(self._waiting), None)

    def _wake_first(self) -> None:
        if first := self._first():
            first.wake()

    def _pause(self) -> float:
        """How many seconds the first in the queue waits before it may start a group, unless it is woken before."""
        if len(self._started) >= self._at_once:
            return inf
        start = -inf
        if self._under_way > self._beside:
            start = max(self._started.values()) + self._next_after
        if len(self._waiting) < self._last_size:
            start = max(start, self._last_end + self._gather)
        return start - time.monotonic()

    def _take(self) -> Sequence[Call[Item, Result]]:
        """Start a group: the first in the queue, which is this thread's call, and those behind it that fit."""
        self._started[get_ident()] = time.monotonic()
        leader, *others = self._waiting
        group, items = [leader], [leader.item]
        for call in others:
            if len(group) == self._largest:
                break
            if call.deadline.passed:
                call.fail(_too_late())  # told at once; it leaves the queue by itself
            elif self._joins(items, call.item):
                group.append(call)
                items.append(call.item)
        for call in group:
            del self._waiting[call]
        self._under_way += len(group)
        if self._waiting:
            self._wake_first()  # who was left behind watches over this group
        return group

    def _joins(self, items: Sequence[Item], item: Item) -> bool:
        try:
            return self._fits(items, item)
        except Exception:  # one bad item must not harm the others
            log.exception("an item could not be compared with its group; it goes alone")
            return False

    # A group

    def _lead(self, group: Sequence[Call[Item, Result]]) -> None:
        try:
            self._carry_out(group)
        finally:
            with self._mutex:
                del self._started[get_ident()]
                self._under_way -= len(group)
                self._last_size, self._last_end = len(group), time.monotonic()
                if self._waiting:
                    self._wake_first()

    def _carry_out(self, group: Sequence[Call[Item, Result]]) -> None:
        """Execute a group in this thread, which waits for its first call; then each of them is settled."""
        try:
            self._execute(group)
        except Exception as error:  # noqa: BLE001 - raised again in each thread that waits
            _fail_rest(group, error)
        except BaseException:
            for call in group:
                call.fail(Unavailable("the thread that carried it out was ended"))
            raise
        else:
            for call in group:
                if not call.settled:
                    call.fail(RuntimeError(f"{self._execute!r} did not settle a call"))


def _fail_rest(group: Sequence[Call[Item, Result]], error: Exception) -> None:
    """The first call is of the thread that caught the error, and gets it as it is; any other a copy."""
    rest = [call for call in group if not call.settled]
    for call in rest:
        call.fail(error if call is group[0] else copy_of(error))
    if not rest:
        log.error("a group failed after all its calls were settled", exc_info=error)


def _too_late() -> DeadlineExceeded:
    return DeadlineExceeded("the caller no longer waits")
