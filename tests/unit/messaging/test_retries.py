"""What follows when a handler ran, whatever it did."""

from datetime import timedelta

import pytest
import structlog

from common.messaging.delay_levels import DELAY_LEVELS
from common.messaging.port import Delivery, Handler, Message
from common.messaging.retries import (
    LAST_ATTEMPT_LOST,
    GiveUp,
    Handled,
    Outcome,
    RetryAfter,
    RetryPolicy,
    one_line,
    pause_before_retry,
)

POLICY = RetryPolicy(tries=3, first_pause=timedelta(seconds=1))


def outcome(handler: Handler, attempt: int) -> Outcome:
    return POLICY.deliver(Delivery(Message("parcels", "parcel-1", b""), "id-1", attempt), "warehouse", handler)


def fail(_delivery: Delivery) -> None:
    raise RuntimeError("no\nluck")


def end_the_thread(_delivery: Delivery) -> None:
    raise SystemExit(1)


@pytest.mark.parametrize("attempt", [1, 2, 3])
def test_handler_that_returns_has_handled_it_on_any_attempt(attempt: int) -> None:
    assert outcome(lambda _: None, attempt) == Handled()


@pytest.mark.parametrize("handler", [fail, end_the_thread])
def test_failure_is_tried_again_later_and_later(handler: Handler) -> None:
    assert outcome(handler, 1) == RetryAfter(timedelta(seconds=1))
    assert outcome(handler, 2) == RetryAfter(timedelta(seconds=5))


def test_failure_of_the_last_attempt_is_a_dead_letter_with_its_error() -> None:
    assert outcome(fail, 3) == GiveUp(3, "RuntimeError: no luck")


def test_message_whose_last_attempt_was_cut_short_is_a_dead_letter_unhandled() -> None:
    assert outcome(lambda _: pytest.fail("must not run"), 4) == GiveUp(3, LAST_ATTEMPT_LOST)


def test_each_failure_and_the_dead_letter_are_logged() -> None:
    with structlog.testing.capture_logs() as lines:
        outcome(fail, 1)
        outcome(fail, 3)

    facts = {"topic": "parcels", "key": "parcel-1", "error": "RuntimeError: no luck"}
    assert lines == [
        {"event": "handler failed", "log_level": "warning", "attempt": 1, **facts},
        {"event": "handler failed", "log_level": "warning", "attempt": 3, **facts},
        {"event": "dead letter", "log_level": "error", "group": "warehouse", "attempts": 3, **facts},
    ]


def test_error_is_one_line_that_any_store_accepts() -> None:
    assert one_line(RuntimeError("one\n two\ud800" + "x" * 1000)) == ("RuntimeError: one two?" + "x" * 1000)[:500]


def test_pauses_grow_as_the_levels_do_and_end_at_the_longest() -> None:
    pauses = [pause_before_retry(attempt, timedelta(seconds=1)) for attempt in range(1, 30)]

    assert pauses[:18] == list(DELAY_LEVELS)
    assert set(pauses[18:]) == {timedelta(hours=2)}


def test_first_pause_scales_the_others() -> None:
    assert pause_before_retry(1, timedelta(milliseconds=50)) == timedelta(milliseconds=50)
    assert pause_before_retry(2, timedelta(milliseconds=50)) == timedelta(milliseconds=250)
    assert pause_before_retry(18, timedelta(minutes=1)) == timedelta(hours=2)
    assert pause_before_retry(1, timedelta(hours=3)) == timedelta(hours=3)
