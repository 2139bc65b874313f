"""Calls of one moment are carried out together by the first of them, and each gets its own outcome."""

import gc
import itertools
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from math import inf
from threading import Event, current_thread

import pytest

from common.batching import Call, Groups
from common.deadline import Deadline
from common.errors import Aborted, DeadlineExceeded, Unavailable, Violation
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


@pytest.fixture
def work() -> Iterator[Work]:
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


# Who carries out what


def test_a_lone_call_is_carried_out_in_its_own_thread_without_a_wait(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(Call, "wait")
    groups = work.new_groups(gather=1000)

    assert [groups.submit(number, Deadline.after(10)) for number in (3, 4)] == [6, 8]

    assert work.taken == [[3], [4]]
    assert set(work.threads) == {current_thread().name}


def test_what_waits_is_the_next_group_in_the_order_of_arrival(work: Work) -> None:
    assert results(work.one_group([3, 1, 2])) == [6, 2, 4]
    assert work.taken == [[0], [3, 1, 2]]


def test_the_first_that_waits_leads_the_next_group_in_its_own_thread(work: Work) -> None:
    threads = dict[int, str]()

    def submit(number: int) -> int:
        threads[number] = current_thread().name
        return work.groups.submit(number, Deadline.after(TIMEOUT_S))

    work.hold(0)
    futures = []
    for number in (1, 2):
        futures.append(work.pool.submit(submit, number))
        wait_until(lambda number=number: len(work.groups) == number, "it waits")  # type: ignore[misc]
    work.release(0)
    results(futures)

    assert work.threads[1:] == [threads[1]]


def test_a_group_is_never_larger_than_allowed(work: Work) -> None:
    work.new_groups(largest=2)
    assert results(work.one_group([1, 2, 3, 4, 5])) == [2, 4, 6, 8, 10]
    assert work.taken == [[0], [1, 2], [3, 4], [5]]


def test_what_does_not_fit_keeps_its_place_for_the_next_group(work: Work) -> None:
    work.new_groups(fits=lambda taken, number: all(number % 10 != other % 10 for other in taken))
    assert results(work.one_group([1, 11, 2, 21, 3, 12])) == [2, 22, 4, 42, 6, 24]
    assert work.taken == [[0], [1, 2, 3], [11, 12], [21]]


def test_an_item_that_can_not_be_compared_goes_alone(work: Work) -> None:
    def fits(taken: Sequence[int], number: int) -> bool:
        if 2 in (*taken, number):
            raise ValueError("2 is poison")
        return True

    work.new_groups(fits=fits)
    assert results(work.one_group([1, 2, 3])) == [2, 4, 6]
    assert work.taken == [[0], [1, 3], [2]]


def test_a_call_from_within_a_group_does_not_wait_for_itself(work: Work) -> None:
    def execute(calls: Sequence[Call[int, int]]) -> None:
        for call in calls:
            call.answer(work.groups.submit(call.item - 10, call.deadline) if call.item > 10 else 2 * call.item)

    work.execute = execute
    assert work.pool.submit(work.groups.submit, 13, Deadline.after(TIMEOUT_S)).result(TIMEOUT_S) == 6
    assert work.groups.submit(2, Deadline.after(TIMEOUT_S)) == 4


# Several at once


def test_one_group_is_under_way_at_a_time(work: Work) -> None:
    first = work.hold(0)
    second = work.queue(1)
    assert work.taken == [[0]]
    work.release(0)
    assert results([first, second]) == [0, 2]


def test_the_first_that_waits_starts_a_further_group_beside_one_that_hangs(work: Work) -> None:
    work.new_groups(next_after=0.05)
    hanging = work.hold(0)
    assert work.groups.submit(1, Deadline.after(TIMEOUT_S)) == 2
    assert not hanging.done()
    work.release(0)
    assert hanging.result(TIMEOUT_S) == 0


def test_who_becomes_the_first_notices_a_group_that_hangs(work: Work) -> None:
    work.new_groups(next_after=0.05, fits=lambda taken, number: False)
    work.hold(0)
    work.held[1] = Event()  # it starts beside 0, and hangs as well: 2 and 3 wait from before
    futures = [work.pool.submit(work.groups.submit, number, Deadline.after(TIMEOUT_S)) for number in (1, 2, 3)]
    assert results(futures[1:]) == [4, 6]
    assert not futures[0].done()


def test_who_follows_one_that_hung_up_notices_a_group_that_hangs(work: Work) -> None:
    work.new_groups(next_after=0.3)
    work.hold(0)
    deadline = Deadline.after(TIMEOUT_S)
    first = work.queue(1, deadline)
    second = work.queue(2)
    deadline.cancel()
    assert isinstance(error_of(first), DeadlineExceeded)
    assert second.result(TIMEOUT_S) == 4
    assert 0 in work.held


def test_a_further_group_starts_only_when_the_newest_is_old_too(work: Work) -> None:
    starts = list[float]()
    work.new_groups(next_after=0.1)
    work.execute = lambda calls: None
    for number in range(3):
        work.hold(number)
        starts.append(time.monotonic())
    assert all(later - earlier > 0.08 for earlier, later in itertools.pairwise(starts))


def test_no_more_groups_than_allowed_are_under_way(work: Work) -> None:
    work.new_groups(next_after=0, at_once=2)
    hanging = [work.hold(0), work.hold(1)]
    third = work.queue(2)
    work.release(1)
    assert third.result(TIMEOUT_S) == 4
    work.release(0)
    assert results(hanging) == [0, 2]
    assert work.taken == [[0], [1], [2]]


# Gathering


def a_group_of_three(work: Work, gather: float) -> None:
    work.new_groups(gather=gather)
    results(work.one_group([1, 2, 3]))
    wait_until(lambda: not work.groups._started, "it has ended")
    work.taken.clear()


def test_after_a_group_of_several_the_next_waits_for_as_many(work: Work) -> None:
    a_group_of_three(work, gather=1000)
    futures = [work.queue(number) for number in (4, 5)]
    futures.append(work.pool.submit(work.groups.submit, 6, Deadline.after(TIMEOUT_S)))
    assert results(futures) == [8, 10, 12]
    assert work.taken == [[4, 5, 6]]


def test_it_waits_no_longer_than_it_may(work: Work) -> None:
    a_group_of_three(work, gather=0.05)
    ended = work.groups._last_end
    assert work.groups.submit(4, Deadline.after(TIMEOUT_S)) == 8
    assert time.monotonic() - ended >= 0.05


def test_who_comes_long_after_a_group_of_several_does_not_wait(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    a_group_of_three(work, gather=1000)
    work.groups._last_end -= 1000
    monkeypatch.delattr(Call, "wait")
    assert work.groups.submit(4, Deadline.after(10)) == 8


def test_it_gathers_beside_a_group_that_hangs_too(work: Work) -> None:
    work.new_groups(gather=1000, next_after=0.05)
    hanging = work.hold(9)
    work.groups._last_size, work.groups._last_end = 3, time.monotonic()
    futures = [work.queue(number) for number in (4, 5)]
    futures.append(work.pool.submit(work.groups.submit, 6, Deadline.after(TIMEOUT_S)))
    assert results(futures) == [8, 10, 12]
    assert work.taken[-1] == [4, 5, 6]
    assert not hanging.done()


def test_a_caller_that_hangs_up_while_it_gathers_leaves_that_to_the_next(work: Work) -> None:
    a_group_of_three(work, gather=1000)
    deadline = Deadline.after(TIMEOUT_S)
    first = work.queue(4, deadline)
    futures = [work.queue(5)]
    deadline.cancel()
    assert isinstance(error_of(first), DeadlineExceeded)
    futures += [work.queue(6), work.pool.submit(work.groups.submit, 7, Deadline.after(TIMEOUT_S))]
    assert results(futures) == [10, 12, 14]
    assert work.taken == [[5, 6, 7]]


# Deadlines


def test_a_caller_whose_deadline_has_passed_is_not_carried_out(work: Work) -> None:
    with pytest.raises(DeadlineExceeded):
        work.groups.submit(1, Deadline.after(0))
    assert work.taken == []


@pytest.mark.parametrize("hangs_up", [False, True])
def test_who_no_longer_waits_leaves_the_queue_at_once(work: Work, hangs_up: bool) -> None:
    work.hold(0)
    deadline = Deadline.after(TIMEOUT_S if hangs_up else 0.05)
    gone = work.pool.submit(work.groups.submit, 1, deadline)
    if hangs_up:
        wait_until(lambda: len(work.groups) == 1, "it waits")
        deadline.cancel()
    assert isinstance(error_of(gone), DeadlineExceeded)
    assert len(work.groups) == 0
    last = work.queue(2)
    work.release(0)
    assert last.result(TIMEOUT_S) == 4
    assert work.taken == [[0], [2]]


@pytest.mark.parametrize("hangs_up", [False, True])
def test_who_was_taken_stops_waiting_too_and_the_group_goes_on(work: Work, hangs_up: bool) -> None:
    work.hold(0)
    work.held[1] = Event()
    leader = work.queue(1)
    deadline = Deadline.after(TIMEOUT_S if hangs_up else 0.2)
    gone = work.queue(2, deadline)
    work.release(0)
    wait_until(lambda: [1, 2] in work.taken, "both are taken")
    if hangs_up:
        deadline.cancel()
    assert isinstance(error_of(gone), DeadlineExceeded)
    assert not leader.done()
    work.release(1)
    assert leader.result(TIMEOUT_S) == 2


def test_no_group_is_made_for_who_has_just_expired(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    late = Deadline.after(TIMEOUT_S)
    work.hold(0)
    futures = [work.queue(1), work.queue(2, late), work.queue(3)]
    late.at = 0  # its thread, which sleeps, does not know
    work.release(0)
    assert results([futures[0], futures[2]]) == [2, 6]
    assert isinstance(error_of(futures[1]), DeadlineExceeded)
    assert work.taken == [[0], [1, 3]]


def test_a_caller_leaves_nothing_behind_with_its_deadline(work: Work) -> None:
    deadline = Deadline.after(TIMEOUT_S)
    work.hold(0)
    waited = work.queue(1, deadline)
    work.release(0)
    waited.result(TIMEOUT_S)
    assert deadline._caller.listeners == ()


# Outcomes


def test_a_caller_is_answered_while_its_group_goes_on(work: Work) -> None:
    goes_on = Event()

    def execute(calls: Sequence[Call[int, int]]) -> None:
        for call in reversed(calls):
            call.answer(2 * call.item)
            if call.item == 3:
                calls[1].fail(ValueError("2 is bad"))
                assert goes_on.wait(TIMEOUT_S)

    work.execute = execute
    first, second, third = work.one_group([1, 2, 3])
    assert third.result(TIMEOUT_S) == 6
    assert str(error_of(second)) == "2 is bad"
    assert not first.done()
    goes_on.set()
    assert first.result(TIMEOUT_S) == 2


def test_the_first_outcome_of_a_call_counts() -> None:
    answered, failed = Call[int, int](1, Deadline.after(1)), Call[int, int](2, Deadline.after(1))
    assert not answered.settled
    answered.answer(1)
    answered.answer(2)
    answered.fail(ValueError("too late"))
    failed.fail(ValueError("bad"))
    failed.answer(1)
    assert answered.settled
    assert failed.settled
    assert answered.result() == 1
    with pytest.raises(ValueError, match="bad"):
        failed.result()


def test_a_call_that_its_group_forgets_fails_and_names_who_forgot_it(work: Work) -> None:
    work.execute = lambda calls: calls[0].answer(7)
    first, second = work.one_group([1, 2])
    assert first.result(TIMEOUT_S) == 7
    error = error_of(second)
    assert isinstance(error, RuntimeError)
    assert "_execute" in str(error)


def test_of_a_group_that_fails_each_has_an_error_of_its_own(work: Work) -> None:
    original = Aborted("lost", reason="LOST", metadata={"a": "b"}, violations=[Violation("field", "wrong")])

    def execute(calls: Sequence[Call[int, int]]) -> None:
        if len(calls) > 1:
            calls[1].answer(5)
            raise original

    work.execute = execute
    first, answered, *others = work.one_group([1, 2, 3, 4])
    assert answered.result(TIMEOUT_S) == 5
    assert error_of(first) is original
    errors = [error_of(each) for each in others]
    assert len({id(original), *map(id, errors)}) == 3
    for error in errors:
        assert isinstance(error, Aborted)
        assert str(error) == "lost"
        assert (error.reason, error.metadata, error.violations) == ("LOST", {"a": "b"}, original.violations)


def test_a_leader_that_was_answered_is_not_told_of_the_error_of_the_others(work: Work) -> None:
    def execute(calls: Sequence[Call[int, int]]) -> None:
        calls[0].answer(1)
        if len(calls) > 1:
            raise ValueError("the second is bad")

    work.execute = execute
    first, second = work.one_group([1, 2])
    assert first.result(TIMEOUT_S) == 1
    assert isinstance(error_of(second), ValueError)


def test_the_next_group_follows_one_that_failed(work: Work) -> None:
    def execute(calls: Sequence[Call[int, int]]) -> None:
        if calls[0].item == 0:
            raise ValueError("bad")
        double(calls)

    work.execute = execute
    assert results(work.one_group([1, 2])) == [2, 4]
    assert work.groups.submit(3, Deadline.after(10)) == 6


class Ended(BaseException):
    """A thread is being ended."""


def test_a_leader_that_is_ended_leaves_the_others_an_error_that_is_safe_to_repeat(work: Work) -> None:
    def execute(calls: Sequence[Call[int, int]]) -> None:
        if len(calls) > 1:
            calls[1].answer(5)
            raise Ended
        double(calls)

    work.execute = execute
    ended, answered, *others = work.one_group([1, 2, 3, 4])
    assert isinstance(error_of(ended), Ended)
    assert answered.result(TIMEOUT_S) == 5
    errors = [error_of(each) for each in others]
    assert all(isinstance(error, Unavailable) for error in errors)
    assert errors[0] is not errors[1]
    assert work.groups.submit(5, Deadline.after(10)) == 10


def test_a_thread_that_is_ended_while_it_waits_leaves_the_queue_to_the_next(work: Work) -> None:
    def end(call: Call[int, int], timeout: float) -> None:
        raise Ended

    work.hold(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Call, "wait", end)
        with pytest.raises(Ended):
            work.groups.submit(1, Deadline.after(TIMEOUT_S))
    assert len(work.groups) == 0


def test_an_error_that_a_caller_dropped_is_gone_without_the_garbage_collector(work: Work) -> None:
    def execute(calls: Sequence[Call[int, int]]) -> None:
        for call in calls:
            call.fail(Aborted("bad"))

    def refused() -> "weakref.ref[Aborted]":
        try:
            work.groups.submit(1, Deadline.after(10))
        except Aborted as error:
            return weakref.ref(error)
        raise AssertionError

    work.execute = execute
    gc.disable()
    try:
        assert refused()() is None
    finally:
        gc.enable()


@pytest.fixture
def sleeps(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of each call whenever it goes to sleep."""
    sleeps, wait = list[int](), Call.wait

    def counted(call: Call[int, int], timeout: float) -> None:
        sleeps.append(call.item)
        wait(call, timeout)

    monkeypatch.setattr(Call, "wait", counted)
    return sleeps


def test_only_those_concerned_are_woken(work: Work, sleeps: list[int]) -> None:
    work.new_groups(largest=16)
    assert results(work.one_group(range(1, 65))) == [2 * number for number in range(1, 65)]
    assert [len(group) for group in work.taken] == [1, 16, 16, 16, 16]
    leaders = [group[0] for group in work.taken[1:]]
    assert all(sleeps.count(number) == 1 for number in range(1, 65) if number not in leaders)
    assert all(sleeps.count(number) <= 3 for number in leaders)


def test_the_first_is_not_woken_by_those_who_come_while_it_can_not_start(work: Work, sleeps: list[int]) -> None:
    a_group_of_three(work, gather=0)
    sleeps.clear()
    assert results(work.one_group([4, 5, 6])) == [8, 10, 12]
    assert sleeps.count(4) == 1
