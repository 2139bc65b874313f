import pytest

from common.messaging.checkers import Checkers
from common.messaging.port import Checker, Message, Resolution

HALF = Message("parcels", "parcel-1", b"body")


def fail(_message: Message) -> Resolution:
    raise SystemExit


@pytest.mark.parametrize("resolution", Resolution)
def test_topics_checker_answers(resolution: Resolution) -> None:
    asked: list[Message] = []

    def check(message: Message) -> Resolution:
        asked.append(message)
        return resolution

    checkers = Checkers()
    checkers.add("parcels", check)

    assert checkers.resolve(HALF) is resolution
    assert asked == [HALF]


@pytest.mark.parametrize("checker", [fail, lambda _: None, lambda _: "COMMIT"])
def test_checker_that_raises_or_answers_nonsense_means_unknown(checker: Checker) -> None:
    checkers = Checkers()
    checkers.add("parcels", checker)

    assert checkers.resolve(HALF) is Resolution.UNKNOWN


def test_topic_without_a_checker_means_unknown() -> None:
    assert Checkers().resolve(HALF) is Resolution.UNKNOWN


def test_second_checker_of_a_topic_is_refused() -> None:
    checkers = Checkers()
    checkers.add("parcels", fail)

    with pytest.raises(ValueError, match="parcels"):
        checkers.add("parcels", fail)
