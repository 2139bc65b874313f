"""Answers check-backs in a few threads of its own: RocketMQ's client has only one for them."""

from queue import Full, Queue
from threading import Event, Thread, current_thread
from typing import Final

import structlog

from common.messaging.checkers import Checkers
from common.messaging.port import BrokerUnavailable
from common.messaging.rocketmq.messages import to_port
from common.messaging.rocketmq.proxy.client import HalfMessage
from common.messaging.rocketmq.proxy.producer import Producer
from common.messaging.rocketmq.topology import Topology

log = structlog.get_logger(__name__)

MOST_WAITING: Final = 1000
"""How many check-backs may wait; the broker repeats those beyond it."""

_THREADS: Final = 4


class CheckBackWorkers:
    """Has the topics' checkers answer check-backs.

    Args:
        checkers: Of all topics.
        topology: Names topics.
        producer: Sends the answers.
    """

    def __init__(self, checkers: Checkers, topology: Topology, producer: Producer) -> None:
        self._checkers = checkers
        self._topology = topology
        self._producer = producer
        self._waiting: Queue[HalfMessage | None] = Queue(MOST_WAITING)
        self._closing = Event()
        self._threads = [
            Thread(target=self._run, name=f"rocketmq-check-back-{number}", daemon=True) for number in range(_THREADS)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def put(self, half: HalfMessage) -> None:
        """Queue a check-back without waiting. With too many in the queue it is dropped: the broker repeats it."""
        try:
            self._waiting.put_nowait(half)
        except Full:
            log.debug("check-back dropped, the broker will repeat it", waiting=MOST_WAITING)

    def close(self) -> None:
        """Finish the answers in hand; the broker repeats the other check-backs, to this process or another."""
        self._closing.set()
        started = [thread for thread in self._threads if thread.ident is not None]
        for _ in started:
            self._waiting.put(None)
        for thread in started:
            if thread is not current_thread():
                thread.join()

    def _run(self) -> None:
        while (half := self._waiting.get()) is not None:
            if self._closing.is_set():
                continue
            try:
                message = to_port(self._topology.port_topic(half.message.topic), half.message)
                self._producer.answer_check_back(half, self._checkers.resolve(message))
            except BrokerUnavailable as error:
                log.info("check-back not answered, the broker will repeat it", error=str(error))
            except Exception:  # whatever the client raises, the next check-back must be answered
                log.exception("check-back not answered, the broker will repeat it")
