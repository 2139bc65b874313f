from datetime import timedelta

from common.messaging.delay_levels import DELAY_LEVELS, pause_before_retry


def test_levels_are_those_of_rocketmq() -> None:
    minutes = [60 * number for number in range(1, 11)]

    assert [level.total_seconds() for level in DELAY_LEVELS] == [1, 5, 10, 30, *minutes, 1200, 1800, 3600, 7200]


def test_pauses_grow_as_the_levels_do_and_end_at_the_longest() -> None:
    pauses = [pause_before_retry(attempt, timedelta(seconds=1)) for attempt in range(1, 30)]

    assert pauses[:18] == list(DELAY_LEVELS)
    assert set(pauses[18:]) == {timedelta(hours=2)}


def test_first_pause_scales_the_others() -> None:
    assert pause_before_retry(1, timedelta(milliseconds=50)) == timedelta(milliseconds=50)
    assert pause_before_retry(2, timedelta(milliseconds=50)) == timedelta(milliseconds=250)
    assert pause_before_retry(18, timedelta(minutes=1)) == timedelta(hours=2)
    assert pause_before_retry(1, timedelta(hours=3)) == timedelta(hours=3)
