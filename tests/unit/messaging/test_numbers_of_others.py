"""Numbers in messages' properties, which anybody can write who reaches the broker."""

import pytest

from common.messaging.rocketmq.dead_letters import attempts_of
from common.messaging.rocketmq.messages import TRY
from common.messaging.rocketmq.native.messages import received_message
from common.plain_numbers import whole_number_or

NO_NUMBERS = ["", "x", "-1", "+1", "1_0", " 1", "1.0", "٣", "²", "1" * 4301]


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_what_is_no_plain_number_is_replaced(text: str) -> None:
    assert whole_number_or(text, 7) == 7
    assert whole_number_or("12", 7) == 12


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_a_dead_letter_is_read_whatever_its_counters_say(text: str) -> None:
    assert attempts_of({"reback_attempts": text, "RECONSUME_TIME": text}) == 1


class Received:
    """What the native client hands over, with one property."""

    id = "message-1"
    body = b""

    def __init__(self, tried: str) -> None:
        self._tried = tried

    def get_property(self, name: str | bytes) -> bytes | None:
        return self._tried.encode() if name in (TRY, TRY.encode()) else None


@pytest.mark.parametrize("text", NO_NUMBERS)
def test_a_message_whose_try_is_no_number_arrives_as_the_first_try(text: str) -> None:
    assert received_message("topic", Received(text)).attempt == 1
    assert received_message("topic", Received("3")).attempt == 3
