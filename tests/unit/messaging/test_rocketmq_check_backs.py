"""The broker's questions about half messages are answered, as many as can wait; it asks about the others again."""

from collections.abc import Iterator
from threading import Event, Lock, Thread
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from common.messaging.checkers import Checkers
from common.messaging.port import Message, Resolution
from common.messaging.rocketmq.messages import to_client
from common.messaging.rocketmq.proxy.check_backs import MOST_WAITING, CheckBackWorkers
from common.messaging.rocketmq.topology import Topology
from tests.support.waiting import wait_until

if TYPE_CHECKING:
    from common.messaging.rocketmq.proxy.client import Question
    from common.messaging.rocketmq.proxy.producer import Sending


class Desk:
    """Four threads whose checker waits until it is let go on."""

    def __init__(self) -> None:
        self.go_on = Event()
        self.asked: list[str] = []
        self.answered: list[tuple[str, Resolution]] = []
        self._lock = Lock()
        sending = cast("Sending", SimpleNamespace(answer=self._answer))
        checkers = Checkers()
        checkers.add("orders", self._check)
        self.questions = CheckBackWorkers(checkers, Topology("p-", "name server:9876"), sending)
        self.questions.start()

    def ask(self, key: str) -> None:
        half = to_client("p-orders", Message("orders", key, b"body"), {})
        self.questions.put(("endpoints", half, key))

    def _check(self, message: Message) -> Resolution:
        with self._lock:
            self.asked.append(message.key)
        assert self.go_on.wait(10)
        if message.key == "bad":
            raise RuntimeError
        return Resolution.COMMIT

    def _answer(self, question: "Question", resolution: Resolution) -> None:
        with self._lock:
            self.answered.append((question[2], resolution))


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = Desk()
    yield made
    made.go_on.set()
    made.questions.close()


def test_each_question_is_answered_by_its_checker(desk: Desk) -> None:
    desk.go_on.set()

    desk.ask("good")
    desk.ask("bad")

    wait_until(lambda: len(desk.answered) == 2, "both answers")
    assert dict(desk.answered) == {"good": Resolution.COMMIT, "bad": Resolution.UNKNOWN}


def test_questions_do_not_pile_up_while_nobody_can_answer(desk: Desk) -> None:
    for _ in range(4):
        desk.ask("at work")
    wait_until(lambda: len(desk.asked) == 4, "every thread at work")

    for number in range(MOST_WAITING + 100):
        desk.ask(str(number))
    desk.go_on.set()

    wait_until(lambda: len(desk.answered) >= 4 + MOST_WAITING, "all that waited")
    assert {key for key, _ in desk.answered} == {"at work", *(str(number) for number in range(MOST_WAITING))}


def test_what_waits_is_not_answered_any_more_when_it_closes(desk: Desk) -> None:
    for _ in range(4):
        desk.ask("at work")
    wait_until(lambda: len(desk.asked) == 4, "every thread at work")
    for _ in range(MOST_WAITING):
        desk.ask("waiting")

    closing = Thread(target=desk.questions.close)
    closing.start()
    wait_until(desk.questions._closing.is_set, "that it closes")
    desk.go_on.set()
    closing.join(10)

    assert {key for key, _ in desk.answered} == {"at work"}
