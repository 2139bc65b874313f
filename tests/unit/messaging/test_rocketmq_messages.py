"""Every message of the port gets through RocketMQ as it was sent."""

import pytest

from common.messaging.port import Message
from common.messaging.rocketmq.messages import (
    EMPTY,
    ID,
    KEY,
    forwarded_properties,
    original_id,
    restored,
    to_client,
    to_port,
)


@pytest.mark.parametrize(
    "key", ["order-1", "", "with spaces", " ", "tab\t", "new\nline", "\x00", "键🗝", "键 🗝", "100%"]
)
@pytest.mark.parametrize("body", [b"", b"\0", b"body", bytes(range(256))])
def test_a_message_comes_as_it_was_sent(key: str, body: bytes) -> None:
    message = Message("orders", key, body)

    sent = to_client("prefix-orders", message, {"more": "1"})

    assert sent.topic == "prefix-orders"
    assert sent.properties["more"] == "1"
    assert all(value.isprintable() and value for value in sent.properties.values())
    assert to_port("orders", sent) == message
    kept = (next(iter(sent.keys), ""), sent.body, sent.properties)
    assert restored("orders", *kept) == message


def test_an_ordinary_key_and_body_are_rocketmqs_own() -> None:
    sent = to_client("orders", Message("orders", "order-1", b"body"), {})

    assert (sent.keys, sent.body, sent.properties) == ({"order-1"}, b"body", {})


def test_a_message_that_is_sent_on_keeps_its_first_id_and_what_it_carries() -> None:
    first = to_client("orders", Message("orders", "a key", b""), {"reback_due": "1"})
    first.message_id = "first"

    carried = forwarded_properties(first)
    second = to_client("orders", to_port("orders", first), carried)
    second.message_id = "second"

    assert carried == {"reback_due": "1", ID: "first"}
    assert {KEY, EMPTY} <= set(second.properties)
    assert (original_id(first), original_id(second)) == ("first", "first")
    assert forwarded_properties(second)[ID] == "first"
