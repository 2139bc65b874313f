from common.messaging.reachability import Reachability


def test_each_change_is_reported_once() -> None:
    told: list[bool] = []
    reachability = Reachability("the broker")
    reachability.add_listener(told.append)

    for reachable in (True, False, False, True, True, False):
        reachability.report(reachable=reachable)

    assert told == [False, True, False]
    assert not reachability.is_reachable


def test_it_is_reachable_until_something_else_is_reported() -> None:
    assert Reachability("the broker").is_reachable
