"""What the native driver makes of messages, transactions and check-backs, on a binding that needs no library."""

from datetime import timedelta
from threading import Barrier, Event, Thread

import pytest

from common.messaging.checkers import Checkers
from common.messaging.long_delays import DUE, Hops, level_step
from common.messaging.port import BrokerUnavailable, Checker, Message, Resolution
from common.messaging.rocketmq.native.messages import received_message
from common.messaging.rocketmq.native.producer import Producer
from common.messaging.rocketmq.topology import Topology
from tests.support.manual_clock import ManualClock
from tests.unit.messaging.native_binding import Binding, NativeMessage, SendStatus, TransactionStatus

ORDER = Message("messages", "order-1", b"body")


def make(binding: Binding, checkers: dict[str, Checker] | None = None) -> Producer:
    known = Checkers()
    for topic, checker in (checkers or {}).items():
        known.add(topic, checker)
    return Producer(
        binding,
        nameservers="127.0.0.1:9876",
        instance="one",
        topology=Topology("test-", "name server:9876"),
        timeout_ms=1000,
        checkers=known,
        on_failure=lambda: None,
    )


@pytest.fixture
def binding() -> Binding:
    return Binding()


@pytest.mark.parametrize(
    "message",
    [
        ORDER,
        Message("messages", "键 ключ 🗝", bytes(range(256))),
        Message("messages", "", b""),
        Message("messages", "one two", b"\0"),
        Message("messages", "control\x01", "订单".encode()),
    ],
)
def test_message_arrives_as_it_was_sent(binding: Binding, message: Message) -> None:
    make(binding).send("test-messages", message, {})

    assert received_message("messages", binding.sent[0].as_received()).message == message


def test_message_is_held_for_its_level_and_says_when_it_is_due(binding: Binding) -> None:
    hop = Hops(ManualClock(), level_step).first(timedelta(seconds=45))

    make(binding).send("test-messages", ORDER, {}, hop)

    assert binding.sent[0].level == 4  # 30 s
    assert binding.sent[0].properties[DUE] == hop.properties[DUE]


def test_memory_of_every_message_is_freed(binding: Binding) -> None:
    producer = make(binding)
    producer.send("test-messages", ORDER, {})
    producer.in_transaction("test-halves", ORDER, lambda: Resolution.COMMIT)
    binding.answer = fails
    for call in (
        lambda: producer.send("test-messages", ORDER, {}),
        lambda: producer.in_transaction("test-halves", ORDER, lambda: Resolution.COMMIT),
    ):
        with pytest.raises(BrokerUnavailable):
            call()

    assert binding.leaked == 0


def fails(_message: NativeMessage) -> SendStatus:
    raise ConnectionError("no broker")


def test_there_is_one_producer_of_each_group(binding: Binding) -> None:
    producer = make(binding)

    for _ in range(3):
        producer.send("test-messages", ORDER, {})
        producer.send("test-others", ORDER, {})
        producer.in_transaction("test-halves", ORDER, lambda: Resolution.COMMIT)

    assert [producer.group for producer in binding.producers] == ["test-sender", "test-halves"]


def test_message_that_is_not_safely_on_the_disk_counts_as_not_sent(binding: Binding) -> None:
    binding.answer = lambda _: SendStatus.FLUSH_DISK_TIMEOUT
    producer = make(binding)

    with pytest.raises(BrokerUnavailable, match="FLUSH_DISK_TIMEOUT"):
        producer.send("test-messages", ORDER, {})
    with pytest.raises(BrokerUnavailable):
        producer.in_transaction("test-halves", ORDER, lambda: pytest.fail("must not be decided"))


@pytest.mark.parametrize("resolution", Resolution)
def test_decision_is_sent_and_returned(binding: Binding, resolution: Resolution) -> None:
    assert make(binding).in_transaction("test-halves", ORDER, lambda: resolution) is resolution
    assert binding.statuses == [TransactionStatus[resolution.name]]


def test_decide_that_raises_is_unknown_to_the_broker_and_raised_again(binding: Binding) -> None:
    def decide() -> Resolution:
        raise BrokerUnavailable("another message of mine")

    with pytest.raises(BrokerUnavailable, match="another message of mine"):
        make(binding).in_transaction("test-halves", ORDER, decide)
    assert binding.statuses == [TransactionStatus.UNKNOWN]


def test_resolution_that_is_not_sent_is_no_error(binding: Binding) -> None:
    producer = make(binding)
    native = producer.transactional_producer("test-halves")

    def send(message: NativeMessage, execute: object) -> None:
        assert callable(execute)
        execute(message, None)
        raise ConnectionError("meanwhile it went away")

    native.send_message_in_transaction = send

    assert producer.in_transaction("test-halves", ORDER, lambda: Resolution.COMMIT) is Resolution.COMMIT


@pytest.mark.parametrize("answer", [*Resolution, None, "COMMIT"])
def test_check_back_is_answered_by_the_topics_checker(binding: Binding, answer: Resolution) -> None:
    producers: list[Message] = []

    def check(message: Message) -> Resolution:
        producers.append(message)
        return answer

    producer = make(binding, {"messages": check})
    producer.in_transaction("test-messages", ORDER, lambda: Resolution.UNKNOWN)
    (native,) = binding.producers
    assert native.checker is not None

    status = native.checker(binding.sent[0].as_received())

    expected = TransactionStatus[answer.name] if isinstance(answer, Resolution) else TransactionStatus.UNKNOWN
    assert status is expected
    assert producers == [ORDER]


def test_checker_that_raises_or_is_missing_means_unknown(binding: Binding) -> None:
    def check(message: Message) -> Resolution:
        raise KeyboardInterrupt

    producer = make(binding, {"messages": check})
    for topic in ("test-messages", "test-others"):
        producer.in_transaction(topic, ORDER, lambda: Resolution.UNKNOWN)

    for native in binding.producers:
        assert native.checker is not None
        assert native.checker(binding.sent[0].as_received()) is TransactionStatus.UNKNOWN


def test_only_one_connects_and_the_others_follow_together(binding: Binding) -> None:
    together = Barrier(4)
    let_first_go_on = Event()

    def take(message: NativeMessage) -> SendStatus:
        if not binding.sent:
            assert let_first_go_on.wait(10)
        else:
            together.wait(10)
        return SendStatus.OK

    binding.answer = take
    producer = make(binding)
    threads = [Thread(target=producer.send, args=("test-messages", ORDER, {})) for _ in range(5)]
    for thread in threads:
        thread.start()
    let_first_go_on.set()
    for thread in threads:
        thread.join(20)

    assert len(binding.sent) == 5
    assert not together.broken


def test_close_waits_for_a_decision_and_then_refuses(binding: Binding) -> None:
    deciding, go_on = Event(), Event()
    producer = make(binding)

    def decide() -> Resolution:
        deciding.set()
        assert go_on.wait(10)
        assert binding.producers[0].running
        return Resolution.COMMIT

    sender = Thread(target=producer.in_transaction, args=("test-halves", ORDER, decide))
    sender.start()
    assert deciding.wait(10)
    closing = Thread(target=producer.close)
    closing.start()
    closing.join(0.1)
    assert closing.is_alive()
    go_on.set()
    closing.join(10)
    sender.join(10)

    assert binding.statuses == [TransactionStatus.COMMIT]
    assert not binding.producers[0].running
    with pytest.raises(BrokerUnavailable, match="closed"):
        producer.send("test-messages", ORDER, {})
