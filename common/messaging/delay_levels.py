"""The 18 fixed delays that RocketMQ knows."""

from datetime import timedelta

DELAY_LEVELS: tuple[timedelta, ...] = (
    *(timedelta(seconds=seconds) for seconds in (1, 5, 10, 30)),
    *(timedelta(minutes=minutes) for minutes in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 30)),
    *(timedelta(hours=hours) for hours in (1, 2)),
)
"""1s 5s 10s 30s 1m … 10m 20m 30m 1h 2h: level 1 is the first."""
