import json

import pytest

from inventory_srv.domain.changes import Reback
from inventory_srv.entrypoints.consumers import UnreadableMessage, read_reback


def body(**content: object) -> bytes:
    return json.dumps(content).encode()


def test_the_cause_becomes_the_reason() -> None:
    assert read_reback(body(order_sn="o1", cause="create", sent_time="2026-01-01T00:00:00Z")) == Reback("o1", "create")


@pytest.mark.parametrize(
    "unreadable",
    [
        b"",
        b"\xff",
        b"[]",
        b'"o1"',
        body(cause="close"),
        body(order_sn="", cause="close"),
        body(order_sn="x" * 65, cause="close"),
        body(order_sn=7, cause="close"),
        body(order_sn="o1"),
        body(order_sn="o1", cause=""),
        body(order_sn="o1", cause="x" * 201),
        body(order_sn="o1", cause=None),
        body(order_sn="\ud800", cause="close"),
    ],
)
def test_a_body_of_another_shape_is_unreadable(unreadable: bytes) -> None:
    with pytest.raises(UnreadableMessage):
        read_reback(unreadable)
