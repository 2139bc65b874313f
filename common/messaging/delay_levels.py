"""The 18 fixed delays that RocketMQ knows, and the pauses between tries that follow them."""

from datetime import timedelta

DELAY_LEVELS: tuple[timedelta, ...] = (
    *(timedelta(seconds=seconds) for seconds in (1, 5, 10, 30)),
    *(timedelta(minutes=minutes) for minutes in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 30)),
    *(timedelta(hours=hours) for hours in (1, 2)),
)
"""1s 5s 10s 30s 1m … 10m 20m 30m 1h 2h: level 1 is the first."""


def pause_before_retry(attempt: int, first: timedelta) -> timedelta:
    """How long to wait after try number `attempt` (from 1) failed: `first`, then growing as the levels grow.

    With `first` = 1 s these are the delay levels themselves. It never passes the longest level, unless `first` does.
    """
    level = DELAY_LEVELS[min(attempt, len(DELAY_LEVELS)) - 1]
    return min(first * level.total_seconds(), max(DELAY_LEVELS[-1], first))
