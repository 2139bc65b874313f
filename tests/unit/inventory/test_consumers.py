import json
from collections.abc import Sequence
from typing import Any

import pytest

from common.messaging.port import Delivery, Message
from inventory_srv.crash_points import CrashPoint
from inventory_srv.domain.changes import Reback
from inventory_srv.domain.errors import QueueFull, StockBusy
from inventory_srv.entrypoints.consumers import MOST_ORDERS, TOPIC, OrderRebackConsumer, UnreadableMessage, read_rebacks


def body(*order_sns: object, cause: object = "create", **more: object) -> bytes:
    return json.dumps({"cause": cause, "orders": [{"order_sn": sn} for sn in order_sns], **more}).encode()


def delivery(*order_sns: str) -> Delivery:
    return Delivery(Message(TOPIC, "", body(*order_sns)), "id", 1)


class Writer:
    """Carries out rebacks as told: by order_sn the error that one ends with."""

    def __init__(self, **errors: Exception) -> None:
        self.done: list[str] = []
        self._errors = errors

    def carry_out_all(self, rebacks: Sequence[Reback], _: object) -> list[Exception | None]:
        self.done += [reback.order_sn for reback in rebacks]
        return [self._errors.get(reback.order_sn) for reback in rebacks]


def consumer(writer: Any, passed: list[str]) -> OrderRebackConsumer:
    return OrderRebackConsumer(writer, crash_hook=passed.append)


def test_each_order_comes_back_with_the_cause_as_its_reason() -> None:
    assert read_rebacks(body("o2", "o1", cause="timeout")) == [Reback("o2", "timeout"), Reback("o1", "timeout")]


def test_what_a_reader_does_not_know_is_ignored() -> None:
    order = {"order_sn": "o1", "reason": "changed my mind", "traceparent": "00-0-0-00", "later": [1]}
    sent = {"cause": "cancel", "sent_time": "2026-01-01T00:00:00Z", "orders": [order], "later": {}}

    assert read_rebacks(json.dumps(sent).encode()) == [Reback("o1", "cancel")]


def test_as_many_orders_as_a_message_may_name_are_read() -> None:
    assert len(read_rebacks(body(*map(str, range(MOST_ORDERS))))) == MOST_ORDERS


@pytest.mark.parametrize(
    "unreadable",
    [
        b"",
        b"\xff",
        b"[]",
        b"[" * 100_000,
        b'"o1"',
        b"{}",
        b'{"cause": "close"}',
        b'{"cause": "close", "orders": "o1"}',
        b'{"cause": "close", "orders": {"order_sn": "o1"}}',
        b'{"cause": "close", "orders": ["o1"]}',
        b'{"cause": "close", "orders": [{"order_sn": "o1"}, null]}',
        b'{"cause": "close", "orders": [{"order_sn": "o1"}, {}]}',
        body(),
        body(*map(str, range(MOST_ORDERS + 1))),
        body("o1", ""),
        body("o1", "x" * 65),
        body("o1", 7),
        body("o1", cause=""),
        body("o1", cause="x" * 201),
        body("o1", cause=None),
        body("o1", "\ud800"),
    ],
    ids=range(21),
)
def test_a_body_of_another_shape_is_unreadable(unreadable: bytes) -> None:
    with pytest.raises(UnreadableMessage):
        read_rebacks(unreadable)


def test_a_message_with_one_unreadable_order_returns_none() -> None:
    writer = Writer()
    with pytest.raises(UnreadableMessage):
        consumer(writer, []).handle(delivery("o1", ""))
    assert writer.done == []


def test_a_message_is_done_once_all_its_orders_are() -> None:
    writer, passed = Writer(), list[str]()
    consumer(writer, passed).handle(delivery("o1", "o2"))
    assert (writer.done, passed) == (["o1", "o2"], [CrashPoint.REBACK_DONE])


def test_after_one_that_failed_the_others_are_done_and_the_failure_is_raised() -> None:
    writer, passed = Writer(o1=StockBusy(1), o3=ZeroDivisionError("a bug")), list[str]()
    with pytest.raises(StockBusy):
        consumer(writer, passed).handle(delivery("o1", "o2", "o3"))
    assert (writer.done, passed) == (["o1", "o2", "o3"], [])


def test_a_full_queue_is_raised() -> None:
    class Full(Writer):
        def carry_out_all(self, rebacks: Sequence[Reback], _: object) -> list[Exception | None]:
            raise QueueFull(len(rebacks))

    with pytest.raises(QueueFull):
        consumer(Full(), []).handle(delivery("o1"))
