import json
from datetime import UTC, datetime

import pytest

from common.messaging.port import Message
from order_srv.domain.messages import Reback, Timeout
from order_srv.domain.order_state import Cause, CloseCause, Closing

NOW = datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=UTC)

REBACKS = [
    Reback("sn", Cause.CREATE, NOW),
    Reback("sn", Cause.CLOSE, NOW, Closing(CloseCause.TIMEOUT)),
    Reback("sn", Cause.CLOSE, NOW, Closing(CloseCause.CANCEL, 'changed my "mind" 😀')),
    Reback("sn", Cause.REFUND, NOW, Closing(CloseCause.REFUND, "broken")),
]


@pytest.mark.parametrize("reback", REBACKS)
def test_a_reback_is_read_as_it_was_written(reback: Reback) -> None:
    assert Reback.from_message(reback.to_message()) == reback


def test_a_timeout_is_read_as_it_was_written() -> None:
    timeout = Timeout("sn", NOW)
    assert Timeout.from_message(timeout.to_message()) == timeout


def test_messages_are_what_the_design_says() -> None:
    reback, timeout = Reback("sn", Cause.CREATE, NOW).to_message(), Timeout("sn", NOW).to_message()
    assert (reback.topic, reback.key) == ("order_reback", "sn")
    assert json.loads(reback.body) == {
        "order_sn": "sn",
        "cause": "create",
        "sent_time": "2026-03-04T05:06:07.000089+00:00",
    }
    assert (timeout.topic, timeout.key) == ("order_timeout", "sn")
    assert json.loads(timeout.body) == {"order_sn": "sn", "expire_time": "2026-03-04T05:06:07.000089+00:00"}


@pytest.mark.parametrize("body", [b"", b"{}", b'{"order_sn": "sn", "cause": "gift", "sent_time": "2026-01-01"}'])
def test_a_message_of_another_form_is_refused(body: bytes) -> None:
    with pytest.raises((ValueError, KeyError)):
        Reback.from_message(Message("order_reback", "sn", body))
