"""Groups whose work a test holds and releases."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from math import inf
from threading import Event, current_thread

from common.batching import Call, Groups
from common.deadline import Deadline
from tests.support.waiting import TIMEOUT_S, wait_until

Execute = Callable[[Sequence[Call[int, int]]], None]


def double(calls: Sequence[Call[int, int]]) -> None:
    for call in calls:
        call.answer(2 * call.item)


class Work:
    """Doubles numbers in groups; a group that has a held number waits until that is released."""

    def __init__(self, pool: ThreadPoolExecutor) -> None:
        self.pool = pool
        self.execute: Execute = double
        self.taken: list[list[int]] = []
        self.threads: list[str] = []
        self.held: dict[int, Event] = {}
        self.groups = self.new_groups()

    def new_groups(self, **options: float | Callable[[Sequence[int], int], bool]) -> Groups[int, int]:
        """Start over, with one group at a time and no gathering, unless the options say otherwise."""
        self.groups = Groups(self._execute, **{"next_after": inf, "gather": 0.0} | options)  # type: ignore[arg-type]
        return self.groups

    def _execute(self, calls: Sequence[Call[int, int]]) -> None:
        numbers = [call.item for call in calls]
        self.threads.append(current_thread().name)
        self.taken.append(numbers)
        for number in numbers:
            if number in self.held:
                assert self.held[number].wait(TIMEOUT_S)
        self.execute(calls)

    def hold(self, number: int) -> "Future[int]":
        """Submit a number whose group lasts until it is released."""
        self.held[number] = Event()
        future = self.pool.submit(self.groups.submit, number, Deadline.after(TIMEOUT_S))
        wait_until(lambda: any(number in group for group in self.taken), f"{number} is taken")
        return future

    def release(self, number: int) -> None:
        self.held.pop(number).set()

    def queue(self, number: int, deadline: Deadline | None = None) -> "Future[int]":
        """Submit a number that has to wait."""
        before = len(self.groups)
        future = self.pool.submit(self.groups.submit, number, deadline or Deadline.after(TIMEOUT_S))
        wait_until(lambda: len(self.groups) == before + 1, f"{number} waits")
        return future

    def one_group(self, numbers: Sequence[int]) -> list["Future[int]"]:
        """Submit numbers of which one group is made: they came while 0 was under way."""
        self.hold(0)
        futures = [self.queue(number) for number in numbers]
        self.release(0)
        return futures


@contextmanager
def group_work() -> Iterator[Work]:
    with ThreadPoolExecutor(80) as pool:
        work = Work(pool)
        try:
            yield work
        finally:
            for event in work.held.values():  # a failed test must not wait for its threads
                event.set()


def results(futures: Sequence["Future[int]"]) -> list[int]:
    return [future.result(TIMEOUT_S) for future in futures]


def error_of(future: "Future[int]") -> BaseException:
    error = future.exception(TIMEOUT_S)
    assert error is not None
    return error
