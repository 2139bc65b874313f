"""Answers the broker's questions about half messages, in threads of its own: the client's own has but one."""

from queue import Full, Queue
from threading import Event, Thread, current_thread
from typing import Final

import structlog

from common.messaging.checkers import Checkers
from common.messaging.port import BrokerUnavailable
from common.messaging.rocketmq.messages import to_port
from common.messaging.rocketmq.proxy.client import Question
from common.messaging.rocketmq.proxy.producer import Sending
from common.messaging.rocketmq.topology import Topology

log = structlog.get_logger(__name__)

MOST_WAITING: Final = 1000
"""How many questions wait to be answered; of more the broker asks again."""

_THREADS: Final = 4


class CheckBackWorkers:
    """Takes questions, and has the topics' checkers answer them.

    Args:
        checkers: Of all topics.
        topology: Names topics.
        sending: Where answers go.
    """

    def __init__(self, checkers: Checkers, topology: Topology, sending: Sending) -> None:
        self._checkers = checkers
        self._topology = topology
        self._sending = sending
        self._asked: Queue[Question | None] = Queue(MOST_WAITING)
        self._closing = Event()
        self._threads = [
            Thread(target=self._run, name=f"rocketmq-check-back-{number}", daemon=True) for number in range(_THREADS)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def put(self, question: Question) -> None:
        """Answer a question soon, unless too many wait, mostly the same ones asked again. Does not wait."""
        try:
            self._asked.put_nowait(question)
        except Full:
            log.debug("too many questions of the broker wait, it will ask again")

    def close(self) -> None:
        """Answer what is being answered; the broker asks others about the rest, or asks again."""
        self._closing.set()
        started = [thread for thread in self._threads if thread.ident is not None]
        for _ in started:
            self._asked.put(None)
        for thread in started:
            if thread is not current_thread():
                thread.join()

    def _run(self) -> None:
        while (question := self._asked.get()) is not None:
            if self._closing.is_set():
                continue
            try:
                half = question[1]
                message = to_port(self._topology.port_topic(half.topic), half)
                self._sending.answer(question, self._checkers.resolve(message))
            except BrokerUnavailable as error:
                log.info("answer not sent, the broker will ask again", error=str(error))
            except Exception:  # whatever the client raises: others are to be answered
                log.exception("a question of the broker was not answered")
