import threading

from common.deadline import Deadline


def test_a_deadline_counts_down_and_passes() -> None:
    assert 9 < Deadline.after(10).remaining() <= 10
    assert not Deadline.after(10).passed
    assert Deadline.after(0).passed
    assert Deadline.after(-5).remaining() == 0


def test_what_is_kept_back_is_still_the_same_caller() -> None:
    whole = Deadline.after(10)
    part = whole.earlier_by(4)
    assert 5 < part.remaining() <= 6
    whole.cancel()
    assert part.cancelled
    assert part.passed
    assert part.remaining() == 0


def test_a_deadline_that_only_passed_is_not_cancelled() -> None:
    assert not Deadline.after(-1).cancelled


def test_cancelling_tells_each_listener_once() -> None:
    answer: list[str] = []
    deadline = Deadline.after(10)
    deadline.on_cancel(lambda: answer.append("first"))
    deadline.earlier_by(1).on_cancel(lambda: answer.append("second"))
    deadline.cancel()
    deadline.cancel()
    assert answer == ["first", "second"]


def test_a_late_listener_is_told_at_once() -> None:
    answer: list[str] = []
    deadline = Deadline.after(10)
    deadline.cancel()
    deadline.on_cancel(lambda: answer.append("late"))()
    assert answer == ["late"]


def test_a_listener_that_takes_itself_back_is_not_told() -> None:
    answer: list[str] = []
    deadline = Deadline.after(10)
    forget = deadline.on_cancel(lambda: answer.append("gone"))
    forget()
    forget()
    deadline.cancel()
    assert answer == []


def test_listeners_and_cancel_may_come_from_many_threads_and_nobody_is_missed() -> None:
    for _ in range(200):
        deadline, answer, start = Deadline.after(10), list[int](), threading.Barrier(5)
        threads = [threading.Thread(target=listen, args=(start, deadline, answer)) for _ in range(4)]
        threads.append(threading.Thread(target=cancel, args=(start, deadline)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answer == [1, 1, 1, 1]


def listen(start: threading.Barrier, deadline: Deadline, answer: list[int]) -> None:
    start.wait()
    deadline.on_cancel(lambda: answer.append(1))


def cancel(start: threading.Barrier, deadline: Deadline) -> None:
    start.wait()
    deadline.cancel()
