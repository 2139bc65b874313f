"""What several threads want at once is carried out together, and each is told its own outcome."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event, current_thread

import pytest

from common.batching import GroupCommit
from common.errors import Unavailable
from tests.support.services import PATIENCE, wait_until


class Work:
    """Doubles numbers; the first one it is given, 0, takes until it is let go."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.threads: list[str] = []
        self.begun = Event()
        self.let_go = Event()
        self.fails: Callable[[Sequence[int]], Exception | None] = lambda numbers: None

    def __call__(self, numbers: Sequence[int]) -> list[int]:
        self.batches.append(list(numbers))
        self.threads.append(current_thread().name)
        if 0 in numbers:
            self.begun.set()
            assert self.let_go.wait(PATIENCE)
        if error := self.fails(numbers):
            raise error
        return [2 * number for number in numbers]


def merged(work: Work, numbers: Sequence[int], most: int = 64) -> list["Future[int]"]:
    """The outcomes of `numbers`, all wanted while 0 was being carried out."""
    merging: GroupCommit[int, int] = GroupCommit(work, shared_errors=Unavailable, most=most)
    with ThreadPoolExecutor(len(numbers) + 1) as pool:
        first = pool.submit(merging, 0)
        assert work.begun.wait(PATIENCE)
        futures = []
        for count, number in enumerate(numbers, 1):
            futures.append(pool.submit(merging, number))
            wait_until(lambda count=count: len(merging) == count, "it waits")  # type: ignore[misc]
        work.let_go.set()
        assert first.result(PATIENCE) == 0
    return futures


def test_a_lone_call_is_carried_out_in_its_own_thread() -> None:
    work = Work()
    merging: GroupCommit[int, int] = GroupCommit(work, shared_errors=Unavailable)

    assert (merging(3), merging(4)) == (6, 8)

    assert work.batches == [[3], [4]]
    assert set(work.threads) == {current_thread().name}


def test_who_comes_meanwhile_is_carried_out_together_in_the_order_of_coming() -> None:
    work = Work()

    outcomes = [each.result() for each in merged(work, [1, 2, 3])]

    assert outcomes == [2, 4, 6]
    assert work.batches == [[0], [1, 2, 3]]


def test_no_more_are_carried_out_together_than_may_be() -> None:
    work = Work()

    outcomes = [each.result() for each in merged(work, [1, 2, 3, 4, 5], most=2)]

    assert outcomes == [2, 4, 6, 8, 10]
    assert work.batches == [[0], [1, 2], [3, 4], [5]]


def test_where_one_is_bad_each_is_carried_out_alone_and_it_fails_alone() -> None:
    work = Work()
    work.fails = lambda numbers: ValueError("2 is bad") if 2 in numbers else None

    good, bad, also_good = merged(work, [1, 2, 3])

    assert (good.result(), also_good.result()) == (2, 6)
    with pytest.raises(ValueError, match="2 is bad"):
        bad.result()
    assert work.batches[:2] == [[0], [1, 2, 3]]
    assert sorted(work.batches[2:]) == [[1], [2], [3]]


def test_what_is_everybodys_trouble_is_told_to_all_and_not_tried_again() -> None:
    work = Work()
    work.fails = lambda numbers: Unavailable("the database is away") if numbers != [0] else None

    for each in merged(work, [1, 2]):
        with pytest.raises(Unavailable):
            each.result()

    assert work.batches == [[0], [1, 2]]


def test_after_trouble_the_next_is_carried_out() -> None:
    work = Work()
    merging: GroupCommit[int, int] = GroupCommit(work, shared_errors=Unavailable)
    work.fails = lambda numbers: ValueError("bad")
    with pytest.raises(ValueError, match="bad"):
        merging(1)
    work.fails = lambda numbers: None

    assert merging(2) == 4


def test_a_thread_that_is_ended_at_work_leaves_the_others_theirs() -> None:
    class Ended(BaseException):
        pass

    work = Work()
    ended: list[bool] = []

    def end_once(numbers: Sequence[int]) -> None:
        if 1 in numbers and not ended:
            ended.append(True)
            raise Ended

    work.fails = end_once

    of_the_ended, other = merged(work, [1, 2])

    with pytest.raises(Ended):
        of_the_ended.result()
    assert other.result() == 4


def test_who_calls_from_within_what_it_carries_out_does_not_wait_for_itself() -> None:
    def double(numbers: Sequence[int]) -> list[int]:
        return [2 * number if number < 10 else merging(number - 10) for number in numbers]

    merging: GroupCommit[int, int] = GroupCommit(double, shared_errors=Unavailable)

    assert merging(13) == 6
    assert merging(2) == 4
