"""Every caller of a group gets one outcome, its own, whatever becomes of the others."""

import gc
import weakref
from collections.abc import Iterator, Sequence
from threading import Event

import pytest
from structlog.testing import capture_logs

from common.batching import Call
from common.deadline import Deadline
from common.errors import Aborted, Unavailable, Violation
from tests.support.group_work import Work, double, error_of, group_work, results
from tests.support.waiting import TIMEOUT_S


@pytest.fixture
def work() -> Iterator[Work]:
    with group_work() as work:
        yield work


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


def test_an_error_that_nobody_is_left_to_be_told_of_is_logged(work: Work) -> None:
    def execute(calls: Sequence[Call[int, int]]) -> None:
        double(calls)
        raise ValueError("after the last answer")

    work.execute = execute
    with capture_logs() as logs:
        assert work.groups.submit(1, Deadline.after(10)) == 2
    assert [str(entry["exc_info"]) for entry in logs] == ["after the last answer"]


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
