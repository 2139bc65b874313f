"""The scripted broker of the order-life test passes the suite, once somebody lets it deliver and ask.

It lives in one process's memory, so what is about other processes is left out: `test_processes.py`, and that any
process with a checker gets check-backs.
"""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from threading import Event, Thread
from uuid import uuid4

import pytest

from common.clock import SystemClock
from common.messaging.port import Broker
from tests.contract.messaging.harness import Harness
from tests.contract.messaging.test_delays import *  # noqa: F403 - every test of the suite, run here once more
from tests.contract.messaging.test_groups import *  # noqa: F403
from tests.contract.messaging.test_restart import *  # noqa: F403
from tests.contract.messaging.test_retries import *  # noqa: F403
from tests.contract.messaging.test_transactions import *  # noqa: F403
from tests.support.scripted_broker import Engine, Half, ScriptedBroker

del test_any_process_with_a_checker_gets_check_backs  # noqa: F821 - came with the last of them

_CHECK_AFTER_S = 0.3
_CHECK_EVERY_S = 0.2
_PAUSE_S = 0.002


class Postman:
    """Lets an engine deliver what is due, and ask about half messages that are open: what a real broker does.

    Args:
        engine: On the system's clock.
        at_once: How many messages a subscription handles at once.
        rechecks: Whether it also sends one check-back for each resolved half message.
    """

    def __init__(self, engine: Engine, at_once: int, *, rechecks: bool) -> None:
        self._engine = engine
        self._at_once = at_once
        self._rechecks = rechecks
        self._checked: dict[Half, float] = {}
        self._clock = SystemClock()
        self._stopping = Event()
        self._workers = ThreadPoolExecutor(64)
        self._thread = Thread(target=self._run, name="postman")

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()
        self._workers.shutdown()

    def _run(self) -> None:
        while not self._stopping.wait(_PAUSE_S):
            while self._hand_one_over():
                pass
            for half in self._check_backs():
                self._checked[half] = time.monotonic()
                self._workers.submit(self._engine.ask, half)

    def _hand_one_over(self) -> bool:
        with self._engine.changing:  # nobody leaves between the look and the choice
            due = self._engine.due(self._at_once)
            if due:
                self._workers.submit(self._engine.hand_over, due[0], self._engine.begin(due[0]))
        return bool(due)

    def _check_backs(self) -> list[Half]:
        waited = self._clock.now() - timedelta(seconds=_CHECK_AFTER_S)
        now = time.monotonic()
        return [
            half
            for half in list(self._engine.halves)
            if half.sent <= waited and self._engine.can_ask(half) and self._is_due(half, now)
        ]

    def _is_due(self, half: Half, now: float) -> bool:
        last = self._checked.get(half)
        if last is None:
            return half.open or self._rechecks
        return half.open and now - last >= _CHECK_EVERY_S


@dataclass
class ScriptedHarness(Harness):
    """An engine in memory, its postman, and clients of it."""

    def __post_init__(self) -> None:
        self.retry_pauses = (0.05, 0.25)
        self._engine = Engine(SystemClock(), tries=self.tries, retry_after=timedelta(seconds=self.retry_pauses[0]))
        self._postman = Postman(self._engine, self.handlers, rechecks=self.rechecks)
        self._postman.start()

    def url(self) -> str:
        raise NotImplementedError("it lives in this process alone")

    def open(self) -> Broker:
        broker = ScriptedBroker(self._engine, topic_prefix=self.prefix)
        self._brokers.append(broker)
        return broker

    def restart(self) -> None:
        """The engine goes on: only its clients were closed."""

    def transaction_topic(self) -> str:
        return f"transactions-{uuid4().hex}"

    def topic(self) -> str:
        return f"messages-{uuid4().hex}"

    def end(self) -> None:
        super().end()
        self._postman.stop()


@pytest.fixture(params=("scripted", "scripted, rechecking"))
def harness(request: pytest.FixtureRequest) -> Iterator[Harness]:
    made = ScriptedHarness(prefix=f"{uuid4().hex}.", rechecks=request.param == "scripted, rechecking")
    try:
        yield made
    finally:
        made.end()
