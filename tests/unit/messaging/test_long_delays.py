"""Delays in hops, played against brokers that only know levels, or a longest delay, or whose clocks are off."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.messaging.delay_levels import DELAY_LEVELS
from common.messaging.long_delays import DUE, FOR_GROUP, Arrival, Hop, Hops, Step, level_step, longest_step
from tests.support.manual_clock import ManualClock

SECOND = timedelta(seconds=1)
NOTHING = timedelta(0)

delays = st.timedeltas(timedelta(microseconds=1), timedelta(days=3))


def travel(
    delay: timedelta, step: Step, held_for: Callable[[timedelta], timedelta] = lambda asked: asked
) -> tuple[timedelta, list[timedelta]]:
    """How late a message is handled, and all hops it took; `held_for` is how long the broker really holds it."""
    clock = ManualClock()
    hops, sent = Hops(clock, step), clock.now()
    hop = hops.first(delay)
    taken, properties = [hop.delay], dict(hop.properties)
    clock.advance(held_for(hop.delay))
    while isinstance(again := hops.on_arrival(properties, "order"), Hop):
        assert len(taken) < 100
        taken.append(again.delay)
        properties.update(again.properties)
        clock.advance(held_for(again.delay))
    assert again is Arrival.HANDLE
    return clock.now() - sent - delay, taken


@given(delays)
def test_levels_are_never_early_and_at_most_the_shortest_level_late(delay: timedelta) -> None:
    late, hops = travel(delay, level_step, lambda asked: asked + timedelta(milliseconds=1))

    assert NOTHING < late <= SECOND + timedelta(milliseconds=1) * len(hops)
    assert set(hops) <= set(DELAY_LEVELS)


@pytest.mark.parametrize(
    ("seconds", "levels"),
    [
        (0.2, [1]),
        (1, [1]),
        (7, [5, 1, 1]),
        (9.5, [10]),
        (45, [30, 10, 5]),
        (75, [60, 10, 5]),
        (1800, [1800]),
        (3 * 3600, [7200, 3600]),
    ],
)
def test_a_delay_takes_few_levels(seconds: float, levels: list[int]) -> None:
    _, hops = travel(timedelta(seconds=seconds), level_step, lambda asked: asked + timedelta(milliseconds=1))

    assert [hop.total_seconds() for hop in hops] == levels


def test_lateness_of_the_hops_does_not_add_up() -> None:
    late, hops = travel(timedelta(hours=5, seconds=58), level_step, lambda asked: asked + SECOND / 2)

    assert len(hops) > 3
    assert late < 2 * SECOND


@given(delays)
def test_level_that_ends_a_moment_too_soon_makes_nothing_early(delay: timedelta) -> None:
    late, _ = travel(delay, level_step, lambda asked: asked - timedelta(milliseconds=3))

    assert NOTHING <= late <= SECOND


@given(delays)
def test_longest_delay_is_kept_and_its_hops_end_when_due(delay: timedelta) -> None:
    longest = timedelta(hours=12)

    late, hops = travel(delay, longest_step(longest), lambda asked: asked + timedelta(milliseconds=1))

    assert NOTHING < late <= timedelta(milliseconds=2)
    assert max(hops) <= longest
    assert len(hops) <= delay // longest + 1


@given(st.timedeltas(timedelta(minutes=1), timedelta(days=3)))
def test_broker_whose_clock_is_ten_minutes_ahead_makes_nothing_early_and_does_not_return_it_for_ever(
    delay: timedelta,
) -> None:
    ahead = timedelta(minutes=10)

    def held_for(asked: timedelta) -> timedelta:
        return max(NOTHING, asked - ahead) + timedelta(milliseconds=1)

    late, hops = travel(delay, longest_step(timedelta(hours=12)), held_for)

    assert NOTHING <= late < SECOND
    assert len(hops) <= 20


@given(st.timedeltas(max_value=NOTHING))
def test_no_delay_needs_no_hop_and_no_mark(delay: timedelta) -> None:
    clock = ManualClock()
    hops = Hops(clock, level_step)

    assert hops.first(delay) == Hop(NOTHING, {})
    assert hops.on_arrival({}, "order") is Arrival.HANDLE


@given(st.timedeltas(timedelta(days=365)))
def test_any_length_is_accepted(delay: timedelta) -> None:
    assert Hops(ManualClock(), level_step).first(delay).delay == DELAY_LEVELS[-1]


def test_first_hop_is_for_all_groups_and_a_resend_for_its_own_alone() -> None:
    clock = ManualClock()
    hops = Hops(clock, level_step)
    first = hops.first(45 * SECOND)
    clock.advance(first.delay)

    again = {group: hops.on_arrival(first.properties, group) for group in ("order", "inventory")}

    for group, other in (("order", "inventory"), ("inventory", "order")):
        resend = again[group]
        assert isinstance(resend, Hop)
        assert resend.properties[FOR_GROUP] == group
        assert hops.on_arrival(resend.properties, other) is Arrival.DROP
        assert isinstance(hops.on_arrival(resend.properties, group), Hop)


def test_message_is_the_other_groups_even_when_it_is_due() -> None:
    clock = ManualClock()
    hops = Hops(clock, level_step)
    first = hops.first(6 * SECOND)
    clock.advance(5 * SECOND)
    resend = hops.on_arrival(first.properties, "order")
    assert isinstance(resend, Hop)
    clock.advance(5 * SECOND)

    assert hops.on_arrival(resend.properties, "order") is Arrival.HANDLE
    assert hops.on_arrival(resend.properties, "inventory") is Arrival.DROP


def test_due_time_stays_the_same_on_every_hop() -> None:
    clock = ManualClock()
    hops = Hops(clock, level_step)
    first = hops.first(45 * SECOND)
    clock.advance(first.delay)

    resend = hops.on_arrival(first.properties, "order")

    assert isinstance(resend, Hop)
    assert resend.properties[DUE] == first.properties[DUE]


@pytest.mark.parametrize("text", ["", "soon", "-5", "1e9", "٣", "9" * 400])
def test_due_time_that_is_none_is_due(text: str) -> None:
    assert Hops(ManualClock(), level_step).on_arrival({DUE: text}, "order") is Arrival.HANDLE
