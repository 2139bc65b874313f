"""Calls of one moment are carried out together by the first of them, and each gets its own outcome."""

import itertools
import time
from collections.abc import Iterator, Sequence
from threading import Event, current_thread

import pytest

from common.batching import Call
from common.deadline import Deadline
from common.errors import DeadlineExceeded
from tests.support.group_work import Work, error_of, group_work, results
from tests.support.waiting import TIMEOUT_S, wait_until


@pytest.fixture
def work() -> Iterator[Work]:
    with group_work() as work:
        yield work


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


def test_a_further_group_starts_beside_few_calls_and_the_next_waits_for_one_to_end(work: Work) -> None:
    work.new_groups(beside=1)
    lone, second = work.hold(0), work.hold(1)
    waiting = [work.queue(2), work.queue(3)]
    assert work.taken == [[0], [1]]

    work.release(0)

    assert results([lone, *waiting]) == [0, 4, 6], "beside 1, which is alone now"
    work.release(1)
    assert results([second]) == [2]
    assert work.taken == [[0], [1], [2, 3]]


def test_nothing_starts_beside_a_group_of_more_calls_than_allowed(work: Work) -> None:
    work.new_groups(beside=1)
    work.hold(0)
    work.hold(1)
    waiting = [work.queue(2), work.queue(3), work.queue(4)]
    work.held[2] = Event()
    work.release(0)
    wait_until(lambda: work.taken[2:] == [[2, 3, 4]], "they are one group")
    work.release(1)
    last = work.queue(5)

    assert work.taken == [[0], [1], [2, 3, 4]]
    work.release(2)
    assert results([*waiting, last]) == [4, 6, 8, 10]


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
    work.new_groups(next_after=1.0)
    work.hold(0)
    deadline = Deadline.after(TIMEOUT_S)
    first = work.queue(1, deadline)
    second = work.queue(2)
    deadline.cancel()
    assert isinstance(error_of(first), DeadlineExceeded)
    assert second.result(TIMEOUT_S) == 4
    assert 0 in work.held


def test_a_further_group_starts_only_when_the_newest_is_old_too(work: Work) -> None:
    work.new_groups(next_after=0.1)
    for number in range(3):
        work.hold(number)
    starts = work.groups._started.values()
    assert all(later - earlier >= 0.1 for earlier, later in itertools.pairwise(starts))


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
    work.new_groups(gather=1000, next_after=0)
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
    deadline = Deadline.after(TIMEOUT_S if hangs_up else 1.0)
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


# Who is woken


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


def test_who_leaves_from_the_middle_of_the_queue_wakes_nobody(work: Work, sleeps: list[int]) -> None:
    work.hold(0)
    deadline = Deadline.after(TIMEOUT_S)
    futures = [work.queue(1), work.queue(2, deadline), work.queue(3)]
    deadline.cancel()
    assert isinstance(error_of(futures.pop(1)), DeadlineExceeded)
    work.release(0)
    assert results(futures) == [2, 6]
    assert (sleeps.count(1), sleeps.count(3)) == (1, 1)
