"""Calls that arrive while one is running are executed together, and each gets its own result."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event, current_thread

import pytest

from common.batching import Call, GroupCommit, group_commit
from common.deadline import Deadline
from common.errors import DeadlineExceeded, Unavailable
from tests.support.waiting import TIMEOUT_S, wait_until


class Doubling:
    """Doubles numbers; a batch that has 0 in it lasts until `finish` is set."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.threads: list[str] = []
        self.started = Event()
        self.finish = Event()
        self.fails: Callable[[Sequence[int]], Exception | None] = lambda numbers: None

    def execute(self, numbers: Sequence[int]) -> list[int]:
        self.batches.append(list(numbers))
        self.threads.append(current_thread().name)
        if 0 in numbers:
            self.started.set()
            assert self.finish.wait(TIMEOUT_S)
        if error := self.fails(numbers):
            raise error
        return [2 * number for number in numbers]


def submitted_meanwhile(
    work: Doubling,
    numbers: Sequence[int],
    largest_batch: int = 64,
    fits: Callable[[Sequence[int], int], bool] = lambda taken, number: True,
    batches: GroupCommit[int, int] | None = None,
) -> list["Future[int]"]:
    """The results of `numbers`, all submitted while 0 was being executed."""
    if batches is None:
        batches = GroupCommit(work.execute, shared_errors=Unavailable, fits=fits, largest_batch=largest_batch)
    with ThreadPoolExecutor(len(numbers) + 1) as pool:
        first = pool.submit(batches.submit, 0)
        assert work.started.wait(TIMEOUT_S)
        futures = []
        for count, number in enumerate(numbers, 1):
            futures.append(pool.submit(batches.submit, number))
            wait_until(lambda count=count: len(batches) == count, "it waits")  # type: ignore[misc]
        work.finish.set()
        assert first.result(TIMEOUT_S) == 0
    return futures


def test_a_lone_call_is_executed_in_its_own_thread() -> None:
    work = Doubling()
    batches: GroupCommit[int, int] = GroupCommit(work.execute, shared_errors=Unavailable)

    assert (batches.submit(3), batches.submit(4)) == (6, 8)

    assert work.batches == [[3], [4]]
    assert set(work.threads) == {current_thread().name}


def test_calls_that_arrive_meanwhile_are_one_batch_in_the_order_of_arrival() -> None:
    work = Doubling()

    results = [each.result() for each in submitted_meanwhile(work, [1, 2, 3])]

    assert results == [2, 4, 6]
    assert work.batches == [[0], [1, 2, 3]]


def test_a_batch_is_never_larger_than_allowed() -> None:
    work = Doubling()

    results = [each.result() for each in submitted_meanwhile(work, [1, 2, 3, 4, 5], largest_batch=2)]

    assert results == [2, 4, 6, 8, 10]
    assert work.batches == [[0], [1, 2], [3, 4], [5]]


def test_a_lone_call_waits_for_nobody_after_a_batch_of_several(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Doubling()
    batches: GroupCommit[int, int] = GroupCommit(work.execute, shared_errors=Unavailable)
    for each in submitted_meanwhile(work, [1, 2], batches=batches):
        each.result()

    monkeypatch.delattr(Call, "wait")

    assert batches.submit(3) == 6


def test_callers_without_a_deadline_leave_no_listener_with_each_other() -> None:
    listeners = list[object]()
    work = Doubling()
    work.fails = lambda numbers: listeners.extend(group_commit._NEVER._caller.listeners)

    for each in submitted_meanwhile(work, [1, 2]):
        each.result()

    assert listeners == []


def test_one_bad_item_of_a_batch_fails_alone() -> None:
    work = Doubling()
    work.fails = lambda numbers: ValueError("2 is bad") if 2 in numbers else None

    good, bad, also_good = submitted_meanwhile(work, [1, 2, 3])

    assert (good.result(), also_good.result()) == (2, 6)
    with pytest.raises(ValueError, match="2 is bad"):
        bad.result()
    assert work.batches[:2] == [[0], [1, 2, 3]]
    assert sorted(work.batches[2:]) == [[1], [2], [3]]


def test_a_shared_error_reaches_every_caller_and_is_not_retried() -> None:
    work = Doubling()
    work.fails = lambda numbers: Unavailable("the database is away") if numbers != [0] else None

    errors = [each.exception() for each in submitted_meanwhile(work, [1, 2])]

    assert all(isinstance(error, Unavailable) for error in errors)
    assert errors[0] is not errors[1]  # raised in two threads
    assert work.batches == [[0], [1, 2]]


def test_what_does_not_fit_waits_for_the_next_batch() -> None:
    work = Doubling()

    results = [each.result() for each in submitted_meanwhile(work, [1, 3, 2], fits=lambda taken, number: number == 2)]

    assert results == [2, 6, 4]
    assert work.batches == [[0], [1, 2], [3]]


def test_results_that_are_not_one_for_each_are_an_error_of_all_and_nothing_is_repeated() -> None:
    work = Doubling()
    batches: GroupCommit[int, int] = GroupCommit(lambda numbers: work.execute(numbers)[:1], shared_errors=Unavailable)

    for each in submitted_meanwhile(work, [1, 2], batches=batches):
        with pytest.raises(ValueError, match="shorter"):
            each.result()

    assert work.batches == [[0], [1, 2]]


def test_after_a_failure_the_next_call_is_executed() -> None:
    work = Doubling()
    batches: GroupCommit[int, int] = GroupCommit(work.execute, shared_errors=Unavailable)
    work.fails = lambda numbers: ValueError("bad")
    with pytest.raises(ValueError, match="bad"):
        batches.submit(1)
    work.fails = lambda numbers: None

    assert batches.submit(2) == 4


def test_a_leader_that_is_killed_leaves_the_others_their_results() -> None:
    class Killed(BaseException):
        pass

    work = Doubling()
    killed: list[bool] = []

    def kill_once(numbers: Sequence[int]) -> None:
        if 1 in numbers and not killed:
            killed.append(True)
            raise Killed

    work.fails = kill_once

    of_the_killed, other = submitted_meanwhile(work, [1, 2])

    with pytest.raises(Killed):
        of_the_killed.result()
    assert other.result() == 4


def test_a_call_from_within_a_batch_does_not_wait_for_itself() -> None:
    def double(numbers: Sequence[int]) -> list[int]:
        return [2 * number if number < 10 else batches.submit(number - 10) for number in numbers]

    batches: GroupCommit[int, int] = GroupCommit(double, shared_errors=Unavailable)

    assert batches.submit(13) == 6
    assert batches.submit(2) == 4


def test_beside_a_batch_that_hangs_another_is_executed_where_that_is_allowed() -> None:
    work = Doubling()
    batches: GroupCommit[int, int] = GroupCommit(work.execute, shared_errors=Unavailable, at_once=2)
    with ThreadPoolExecutor(1) as pool:
        hanging = pool.submit(batches.submit, 0)
        assert work.started.wait(TIMEOUT_S)
        assert batches.submit(1) == 2
        assert not hanging.done()
        work.finish.set()


def test_a_caller_whose_deadline_passes_does_not_wait_for_the_batch_before() -> None:
    work = Doubling()
    batches: GroupCommit[int, int] = GroupCommit(work.execute, shared_errors=Unavailable)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(batches.submit, 0)
        assert work.started.wait(TIMEOUT_S)
        with pytest.raises(DeadlineExceeded):
            batches.submit(1, Deadline.after(0.05))
        work.finish.set()
    assert work.batches == [[0]]
