import pytest

from order_srv.adapters.sell_time_limit import SellTimeLimit


def after(*took_s: float) -> SellTimeLimit:
    limit = SellTimeLimit()
    for each in took_s:
        limit.add(each)
    return limit


def test_without_enough_samples_a_sell_may_take_two_seconds() -> None:
    assert after().within(7.0) == 2.0
    assert after(*[0.01] * 99).within(7.0) == 2.0
    assert after().within(0.3) == 0.3


def test_a_quick_inventory_gets_half_a_second() -> None:
    assert after(*[0.01] * 100).within(7.0) == 0.5


def test_a_slower_one_gets_four_times_what_99_of_100_took() -> None:
    assert after(*[0.2] * 990, *[9.0] * 5).within(7.0) == pytest.approx(0.8)
    assert after(*[0.1] * 90, *[0.3] * 10).within(7.0) == pytest.approx(1.2)


def test_it_never_takes_more_than_there_is() -> None:
    assert after(*[0.2] * 100).within(0.3) == 0.3
    assert after(*[0.2] * 100).within(0.0) == 0.0


def test_a_few_hung_calls_change_nothing_and_many_raise_the_limit_until_they_are_old() -> None:
    limit = after(*[0.01] * 512)
    for _ in range(5):
        limit.add_expired(0.5)
    assert limit.within(7.0) == 0.5
    limit.add_expired(0.5)
    assert limit.within(7.0) == 1.0
    for _ in range(512):
        limit.add(0.01)
    assert limit.within(7.0) == 0.5


def test_on_a_system_that_became_slow_the_limit_grows_until_sells_fit() -> None:
    limit, needed_s, sells = after(*[0.01] * 512), 3.0, 0
    while limit.within(60.0) < needed_s:
        limit.add_expired(limit.within(60.0))
        sells += 1
    assert sells < 20
