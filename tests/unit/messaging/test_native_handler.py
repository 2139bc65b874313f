"""What becomes of one message that the native client has received."""

from collections.abc import Mapping
from datetime import timedelta
from threading import Event
from typing import TYPE_CHECKING, cast

import pytest

from common.messaging.long_delays import FOR_GROUP, Hop, Hops, level_step
from common.messaging.port import BrokerUnavailable, Delivery, Handler, Message
from common.messaging.retries import RetryPolicy
from common.messaging.rocketmq.dead_letters import ATTEMPTS, ERROR
from common.messaging.rocketmq.messages import BASE64, ID, TRY
from common.messaging.rocketmq.native.handler import MessageHandler
from common.messaging.rocketmq.topology import Topology
from tests.support.manual_clock import ManualClock
from tests.unit.messaging.native_binding import NativeMessage

if TYPE_CHECKING:
    from common.messaging.rocketmq.native.producer import Producer


class Sent:
    """Stands for the broker: what was sent on, by topic; it refuses the first `refusals`."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, Message, dict[str, str], timedelta]] = []
        self.refusals = 0

    def send(self, topic: str, message: Message, properties: Mapping[str, str], hop: Hop | None = None) -> None:
        if self.refusals:
            self.refusals -= 1
            raise BrokerUnavailable("away")
        delay, more = (hop.delay, hop.properties) if hop else (timedelta(0), {})
        self.sent.append((topic, message, {**properties, **more}, delay))


class Desk:
    """One subscription of three tries, on a clock that stands still."""

    def __init__(self, handler: Handler | None = None) -> None:
        self.clock = ManualClock()
        self.hops = Hops(self.clock, level_step)
        self.broker = Sent()
        self.handled: list[Delivery] = []
        self.closing = Event()
        self._handler = MessageHandler(
            Topology("test-", "name server:9876").subscription("messages", "order", handler or self.handled.append),
            retries=RetryPolicy(tries=3, first_pause=timedelta(seconds=1)),
            hops=self.hops,
            producer=cast("Producer", self.broker),
            closing=self.closing,
        )

    def take(self, properties: Mapping[str, str] | None = None, body: bytes = b"body") -> bool:
        received = NativeMessage("test-messages")
        received.body = body
        received.properties = {"KEYS": "order-1", **(properties or {})}
        return self._handler.process(received)


def fail(_delivery: Delivery) -> None:
    raise RuntimeError("no\nluck")


def test_message_is_handled_and_done_with() -> None:
    desk = Desk()

    assert desk.take()
    assert desk.handled == [Delivery(Message("messages", "order-1", b"body"), "the id", 1)]
    assert desk.broker.sent == []


def test_message_of_another_group_is_dropped() -> None:
    desk = Desk()

    assert desk.take({FOR_GROUP: "inventory"})
    assert not desk.handled
    assert not desk.broker.sent


def test_message_that_is_not_due_is_sent_on_for_this_group_alone() -> None:
    desk = Desk()
    first = desk.hops.first(timedelta(seconds=45))
    desk.clock.advance(first.delay)

    assert desk.take(first.properties)

    ((topic, message, properties, delay),) = desk.broker.sent
    assert (topic, message, delay) == ("test-messages", Message("messages", "order-1", b"body"), timedelta(seconds=10))
    assert properties[FOR_GROUP] == "order"
    assert desk.handled == []


def test_failed_message_comes_again_later_with_its_id_and_the_next_try() -> None:
    desk = Desk(fail)

    assert desk.take()
    assert desk.take({TRY: "2", ID: "first id", FOR_GROUP: "order"})

    pauses = [delay.total_seconds() for _, _, _, delay in desk.broker.sent]
    again = [(properties[TRY], properties[ID], properties[FOR_GROUP]) for _, _, properties, _ in desk.broker.sent]
    assert pauses == [1, 5]
    assert again == [("2", "the id", "order"), ("3", "first id", "order")]


def test_message_is_a_dead_letter_after_its_last_try() -> None:
    desk = Desk(fail)

    assert desk.take({TRY: "3"})

    ((topic, message, properties, delay),) = desk.broker.sent
    assert (topic, message.key, delay) == ("%DLQ%test-messages-order", "order-1", timedelta(0))
    assert properties[ATTEMPTS] == "3"
    assert properties[ERROR] == "RuntimeError: no luck"


def test_message_is_kept_until_the_broker_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.messaging.rocketmq.native.handler._PAUSE_WHILE_AWAY_S", 0.001)
    desk = Desk(fail)
    desk.broker.refusals = 3

    assert desk.take()
    assert len(desk.broker.sent) == 1


def test_message_that_can_not_be_sent_on_while_the_broker_closes_is_not_acknowledged() -> None:
    def fail_and_close(_delivery: Delivery) -> None:
        desk.closing.set()
        raise RuntimeError

    desk = Desk(fail_and_close)
    desk.broker.refusals = 1

    assert not desk.take()


def test_message_that_comes_while_the_broker_closes_is_put_back_as_it_was() -> None:
    desk = Desk()
    desk.closing.set()

    assert desk.take({TRY: "2", ID: "first id"})

    ((topic, message, properties, delay),) = desk.broker.sent
    assert (topic, message.body, delay) == ("test-messages", b"body", timedelta(0))
    assert properties == {TRY: "2", ID: "first id", FOR_GROUP: "order"}
    assert desk.handled == []


def test_message_of_another_group_that_comes_while_the_broker_closes_is_dropped() -> None:
    desk = Desk()
    desk.closing.set()

    assert desk.take({TRY: "2", FOR_GROUP: "inventory"})
    assert not desk.broker.sent


def test_message_that_nobody_can_read_comes_again_and_raises_nothing() -> None:
    desk = Desk()

    assert not desk.take({BASE64: "1"}, body=b"abc")
    assert not desk.handled
    assert not desk.broker.sent


@pytest.mark.parametrize("text", ["", "one", "-1", "1.5"])
def test_try_that_is_no_number_is_the_first(text: str) -> None:
    desk = Desk()

    desk.take({TRY: text})

    assert desk.handled[0].attempt == 1
