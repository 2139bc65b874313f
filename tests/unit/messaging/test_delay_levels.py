from common.messaging.delay_levels import DELAY_LEVELS


def test_levels_are_those_of_rocketmq() -> None:
    minutes = [60 * number for number in range(1, 11)]

    assert [level.total_seconds() for level in DELAY_LEVELS] == [1, 5, 10, 30, *minutes, 1200, 1800, 3600, 7200]
