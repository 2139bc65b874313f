"""What becomes of one message that was received."""

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, cast

from common.messaging.long_delays import FOR_GROUP, Hop, Hops, longest_step
from common.messaging.port import BrokerUnavailable, Delivery, Message
from common.messaging.retries import RetryPolicy
from common.messaging.rocketmq.dead_letters import ATTEMPTS, ERROR
from common.messaging.rocketmq.messages import ID, to_client
from common.messaging.rocketmq.proxy.handler import MessageHandler
from common.messaging.rocketmq.topology import Topology
from tests.support.manual_clock import ManualClock

if TYPE_CHECKING:
    from common.messaging.rocketmq.proxy.consumer import ReceivedMessage
    from common.messaging.rocketmq.proxy.producer import Producer

Call = tuple[object, ...]


class Broker:
    """Records what was done with a message, and what was sent."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.down = False

    def send(self, topic: str, message: Message, properties: dict[str, str]) -> None:
        self._call("sent", topic, message, properties)

    def send_later(self, topic: str, message: Message, hop: Hop, properties: dict[str, str]) -> None:
        self._call("sent later", topic, message, hop.delay, {**properties, **hop.properties})

    def _call(self, *call: object) -> None:
        if self.down:
            raise BrokerUnavailable("away")
        self.calls.append(call)


class FakeReceivedMessage:
    """Records how the message was let go of."""

    def __init__(self, broker: Broker, attempt: int, properties: dict[str, str]) -> None:
        self._broker = broker
        self.message = to_client("p-orders", Message("orders", "key", b"body"), properties)
        self.message.message_id = "id-1"
        self.message._Message__delivery_attempt = attempt

    def acknowledge(self) -> None:
        self._broker.calls.append(("acknowledged",))

    def redeliver_after(self, pause: timedelta) -> None:
        self._broker.calls.append(("redelivered after", pause.total_seconds()))

    def abandon(self) -> None:
        self._broker.calls.append(("abandoned",))


class Desk:
    """One subscription of three tries, on a clock that stands still."""

    def __init__(self, handler: Callable[[Delivery], None] | None = None, *, closing: bool = False) -> None:
        self.clock = ManualClock()
        self.broker = Broker()
        self.handled: list[Delivery] = []
        self.hops = Hops(self.clock, longest_step(timedelta(hours=1)))
        self._closing = closing
        self._handler = MessageHandler(
            Topology("p-", "name server:9876").subscription("orders", "order", handler or self.handled.append),
            retries=RetryPolicy(tries=3, first_pause=timedelta(seconds=1)),
            hops=self.hops,
            producer=cast("Producer", self.broker),
            wait=self._wait,
        )

    def _wait(self, seconds: float) -> bool:
        self.clock.advance(timedelta(seconds=seconds))
        return self._closing

    def work(self, attempt: int = 1, properties: dict[str, str] | None = None) -> list[Call]:
        self.broker.calls.clear()
        self._handler.process(cast("ReceivedMessage", FakeReceivedMessage(self.broker, attempt, properties or {})))
        return self.broker.calls


def fail(delivery: Delivery) -> None:
    raise RuntimeError(f"no luck\n with\x00 {delivery.message.key}")


def test_a_message_is_handled_and_done() -> None:
    desk = Desk()

    assert desk.work() == [("acknowledged",)]
    assert desk.handled == [Delivery(Message("orders", "key", b"body"), "id-1", 1)]


def test_a_message_that_was_sent_on_has_its_first_id() -> None:
    desk = Desk()

    desk.work(properties={ID: "id-0"})

    assert desk.handled[0].message_id == "id-0"


def test_a_failure_brings_it_again_later_and_later() -> None:
    assert Desk(fail).work(attempt=1) == [("redelivered after", 1.0)]
    assert Desk(fail).work(attempt=2) == [("redelivered after", 5.0)]


def test_after_the_last_attempt_it_is_a_dead_letter_where_rocketmq_keeps_dead_letters() -> None:
    letter, acknowledge = Desk(fail).work(attempt=3, properties={"reback_due": "1"})

    expected: dict[str, Any] = {ATTEMPTS: "3", ERROR: "RuntimeError: no luck with? key", ID: "id-1", "reback_due": "1"}
    assert letter == ("sent", "%DLQ%p-orders-order", Message("orders", "key", b"body"), expected)
    assert acknowledge == ("acknowledged",)


def test_message_whose_last_attempt_was_lost_is_a_dead_letter_unhandled() -> None:
    desk = Desk()

    letter, acknowledge = desk.work(attempt=4)

    assert desk.handled == []
    assert letter[0] == "sent"
    assert cast("dict[str, str]", letter[3])[ATTEMPTS] == "3"
    assert acknowledge == ("acknowledged",)


def test_dead_letter_that_can_not_be_sent_now_comes_again() -> None:
    desk = Desk(fail)
    desk.broker.down = True

    assert desk.work(attempt=3) == [("redelivered after", 1.0)]


def test_one_that_is_not_due_travels_on_for_this_group_alone() -> None:
    desk = Desk()
    hop = desk.hops.first(timedelta(hours=3))
    desk.clock.advance(timedelta(hours=1))

    sent, acknowledge = desk.work(properties=hop.properties)

    assert sent[:4] == ("sent later", "p-orders", Message("orders", "key", b"body"), timedelta(hours=1))
    properties = cast("dict[str, str]", sent[4])
    assert properties[FOR_GROUP] == "order"
    assert properties[ID] == "id-1"
    assert properties["reback_due"] == hop.properties["reback_due"]
    assert acknowledge == ("acknowledged",)
    assert desk.handled == []


def test_one_that_can_not_travel_on_now_comes_again() -> None:
    desk = Desk()
    hop = desk.hops.first(timedelta(hours=3))
    desk.broker.down = True

    assert desk.work(properties=hop.properties) == [("redelivered after", 1.0)]


def test_one_that_is_a_little_early_is_waited_for() -> None:
    desk = Desk()
    start = desk.clock.now()
    hop = desk.hops.first(timedelta(seconds=0.4))

    assert desk.work(properties=hop.properties) == [("acknowledged",)]
    assert len(desk.handled) == 1
    assert desk.clock.now() - start >= timedelta(seconds=0.4)


def test_waiting_ends_when_the_broker_closes() -> None:
    desk = Desk(closing=True)
    hop = desk.hops.first(timedelta(seconds=0.4))

    (again,) = desk.work(properties=hop.properties)

    assert again[0] == "redelivered after"
    assert desk.handled == []


def test_another_groups_copy_is_dropped() -> None:
    desk = Desk()

    assert desk.work(properties={FOR_GROUP: "inventory"}) == [("acknowledged",)]
    assert desk.handled == []
