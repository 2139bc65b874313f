"""Check-backs are answered, as many as may wait; the broker repeats the others."""

from collections.abc import Iterator
from threading import Event, Lock, Thread
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from common.messaging.checkers import Checkers
from common.messaging.port import Message, Resolution
from common.messaging.rocketmq.messages import to_client
from common.messaging.rocketmq.proxy.check_backs import MOST_WAITING, CheckBackWorkers
from common.messaging.rocketmq.proxy.client import HalfMessage
from common.messaging.rocketmq.topology import Topology
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from common.messaging.rocketmq.proxy.producer import Producer


class Desk:
    """Four threads whose checker waits until it is let go on."""

    def __init__(self) -> None:
        self.go_on = Event()
        self.checked: list[str] = []
        self.answered: list[tuple[str, Resolution]] = []
        self._lock = Lock()
        producer = cast("Producer", SimpleNamespace(answer_check_back=self._answer))
        checkers = Checkers()
        checkers.add("orders", self._check)
        self.workers = CheckBackWorkers(checkers, Topology("p-", "name server:9876"), producer)
        self.workers.start()

    def check_back(self, key: str) -> None:
        half = to_client("p-orders", Message("orders", key, b"body"), {})
        self.workers.put(HalfMessage("endpoints", half, key))

    def _check(self, message: Message) -> Resolution:
        with self._lock:
            self.checked.append(message.key)
        assert self.go_on.wait(10)
        if message.key == "bad":
            raise RuntimeError
        return Resolution.COMMIT

    def _answer(self, half: HalfMessage, resolution: Resolution) -> None:
        with self._lock:
            self.answered.append((half.transaction, resolution))


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.go_on.set()
    made.workers.close()


def test_each_check_back_is_answered_by_its_checker(desk: Desk) -> None:
    desk.go_on.set()

    desk.check_back("good")
    desk.check_back("bad")

    wait_until(lambda: len(desk.answered) == 2, "both answers")
    assert dict(desk.answered) == {"good": Resolution.COMMIT, "bad": Resolution.UNKNOWN}


def test_check_backs_do_not_pile_up_while_nobody_can_answer(desk: Desk) -> None:
    for _ in range(4):
        desk.check_back("at work")
    wait_until(lambda: len(desk.checked) == 4, "every thread at work")

    for number in range(MOST_WAITING + 100):
        desk.check_back(str(number))
    desk.go_on.set()

    wait_until(lambda: len(desk.answered) >= 4 + MOST_WAITING, "all that waited")
    assert {key for key, _ in desk.answered} == {"at work", *(str(number) for number in range(MOST_WAITING))}


def test_what_waits_is_not_answered_any_more_when_it_closes(desk: Desk) -> None:
    for _ in range(4):
        desk.check_back("at work")
    wait_until(lambda: len(desk.checked) == 4, "every thread at work")
    for _ in range(MOST_WAITING):
        desk.check_back("waiting")

    closing = Thread(target=desk.workers.close)
    closing.start()
    wait_until(desk.workers._closing.is_set, "that it closes")
    desk.go_on.set()
    closing.join(10)

    assert {key for key, _ in desk.answered} == {"at work"}
