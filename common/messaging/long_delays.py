"""Delays of any length on a broker that knows only levels, or a longest delay.

Such a message carries the time when it is due, by the clock port. The broker holds it for one hop. A consumer that gets
it before that time sends it on for the next hop, and only then acknowledges it:

    sent      arrives, not due     arrives, not due   arrives, due
      |------ 30 s ------>|------ 10 s ------>|-- 5 s -->|          a delay of 45 s by levels

Each arrival reads the clock again. So the lateness of hops does not add up, and a broker that is too quick, or whose
clock is wrong, delivers nothing early. The first hop goes to every group of the topic. What a group sends on is marked
with its name, and the other groups drop it, so hops do not multiply.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Final

from common.clock import Clock
from common.messaging.delay_levels import DELAY_LEVELS

DUE: Final = "reback_due"
"""The property with the time when a message is due, in microseconds since 1970."""
HOP_ENDS: Final = "reback_hop_ends"
"""The property with the time when the current hop should end, in microseconds since 1970."""
FOR_GROUP: Final = "reback_for_group"
"""The property with the only group that a message is for; absent: all groups."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_NOTHING: Final = timedelta(0)
_LONGEST: Final = timedelta(days=365 * 1000)
_DIGITS: Final = re.compile("[0-9]{1,19}")

Step = Callable[[timedelta], timedelta]
"""The length of the next hop of a message that is due after this time; more than zero."""


class Arrival(Enum):
    """What a consumer does with a message that it does not send on."""

    HANDLE = "HANDLE"
    """It is due, and for this group."""
    DROP = "DROP"
    """It is for another group: acknowledge it."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One stage of a delay.

    Attributes:
        delay: How long the broker holds the message; zero: it is due already.
        properties: To be set on the message.
    """

    delay: timedelta
    properties: dict[str, str]


def level_step(remaining: timedelta) -> timedelta:
    """The next delay level. The last hop ends late by at most the shortest level.

    A level that is too long by no more than that is the last hop; else take the longest one that is not too long.
    """
    shortest = DELAY_LEVELS[0]
    last = next((level for level in DELAY_LEVELS if remaining <= level <= remaining + shortest), None)
    return last or max(level for level in DELAY_LEVELS if level <= remaining)


def longest_step(longest: timedelta) -> Step:
    """Steps of any length up to `longest`.

    Choose it well below what the broker allows, which uses a clock of its own.
    """
    return lambda remaining: min(remaining, longest)


class Hops:
    """Plans the hops of delayed messages. It keeps no state: any process can continue where another stopped.

    Args:
        clock: Decides when a message is due; the same for all that share a topic.
        step: `level_step`, or one made by `longest_step`.
    """

    def __init__(self, clock: Clock, step: Step) -> None:
        self._clock = clock
        self._step = step

    def first(self, delay: timedelta) -> Hop:
        """The hop of a new message, for all groups."""
        if delay <= _NOTHING:
            return Hop(_NOTHING, {})
        now = self._clock.now()
        # The clock truncates to whole microseconds; one more keeps the message from being early by a fraction.
        due = _micros(now) + min(delay, _LONGEST) // _MICROSECOND + 1
        return self._hop(now, due, min(delay, _LONGEST), {})

    def on_arrival(self, properties: Mapping[str, str], group: str) -> Hop | Arrival:
        """What `group` does with a message that has arrived.

        A hop means: send the message on, with the hop's properties over its own, then acknowledge it.
        """
        if properties.get(FOR_GROUP, group) != group:
            return Arrival.DROP
        due, now = _moment(properties.get(DUE)), self._clock.now()
        if due is None or _micros(now) >= due:
            return Arrival.HANDLE
        remaining = (due - _micros(now)) * _MICROSECOND
        return self._hop(now, due, remaining + _ahead(properties, now), {FOR_GROUP: group})

    def _hop(self, now: datetime, due: int, remaining: timedelta, more: Mapping[str, str]) -> Hop:
        delay = self._step(remaining)
        ends = _micros(now) + delay // _MICROSECOND
        return Hop(delay, {DUE: str(due), HOP_ENDS: str(ends), **more})


def _ahead(properties: Mapping[str, str], now: datetime) -> timedelta:
    """By how much the broker ended the last hop too early.

    A broker that gets a time of day, and whose clock is ahead, would return the message at once, again and again,
    unless the next hop is that much longer.
    """
    ends = _moment(properties.get(HOP_ENDS))
    return _NOTHING if ends is None else max(_NOTHING, (ends - _micros(now)) * _MICROSECOND)


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND


def _moment(text: str | None) -> int | None:
    """The time in a property; text that is not a time counts as absent."""
    return int(text) if text is not None and _DIGITS.fullmatch(text) else None
