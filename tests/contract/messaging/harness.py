"""What the contract suite needs of a driver: brokers, other processes, and how long things take.

The suite itself knows no driver; a new one gets a `Harness` here and a line in `conftest.py`.
"""

import json
import os
import signal
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue
from threading import Condition, Thread
from typing import Any
from uuid import uuid4

from common.clock import SystemClock
from common.messaging.drivers import open_broker
from common.messaging.port import Broker, Checker, Delivery, Handler, Message, Resolution
from tests.support.waiting import TIMEOUT_S, wait_until

WORKER = Path(__file__).with_name("worker.py")


class Received:
    """A handler that records what it gets, and then does what a test wants."""

    def __init__(self, then: Callable[[Delivery], object] | None = None) -> None:
        self._then = then
        self._deliveries: list[tuple[float, Delivery]] = []
        self._changed = Condition()

    def __call__(self, delivery: Delivery) -> None:
        now = time.time()
        with self._changed:
            self._deliveries.append((now, delivery))
            self._changed.notify_all()
        if self._then is not None:
            self._then(delivery)

    @property
    def deliveries(self) -> list[Delivery]:
        return [delivery for _, delivery in self.timed]

    @property
    def timed(self) -> list[tuple[float, Delivery]]:
        with self._changed:
            return list(self._deliveries)

    @property
    def keys(self) -> Counter[str]:
        return Counter(delivery.message.key for delivery in self.deliveries)

    def wait_for(self, *keys: str, times: int = 1, timeout_s: float = TIMEOUT_S) -> None:
        """Wait until each key came at least `times` times."""

        def came() -> bool:
            counts = Counter(delivery.message.key for _, delivery in self._deliveries)
            return all(counts[key] >= times for key in keys)

        with self._changed:
            missing = [key for key in keys if key not in {each.message.key for _, each in self._deliveries}]
            assert self._changed.wait_for(came, timeout_s), (
                f"waited {timeout_s} s in vain for {missing or keys} {times} times"
            )


class Database:
    """Stands for the database that senders and checkers decide by: one resolution a key."""

    def __init__(self) -> None:
        self._rows: dict[str, Resolution] = {}
        self.check_backs: list[str] = []

    def decide(self, key: str, resolution: Resolution) -> Resolution:
        self._rows[key] = resolution
        return resolution

    def check(self, message: Message) -> Resolution:
        self.check_backs.append(message.key)
        return self._rows.get(message.key, Resolution.UNKNOWN)

    def wait_for_check_back(self, key: str, times: int = 1) -> None:
        wait_until(lambda: self.check_backs.count(key) >= times, f"{times} check-backs of {key}")


class Worker:
    """Another process with a broker; it tells what happens in lines of JSON."""

    def __init__(self, url: str, prefix: str, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(WORKER), url, prefix, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._lines: Queue[dict[str, Any]] = Queue()
        self.seen: list[dict[str, Any]] = []
        self._reader = Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.endswith(b"\n"):  # killed in the middle of a line
                self._lines.put(json.loads(line))

    def wait_for(self, event: str, **facts: object) -> dict[str, Any]:
        """Wait for the next line of this kind with these facts; others are kept in `seen`."""
        give_up = time.monotonic() + TIMEOUT_S
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, give_up - time.monotonic()))
            except Empty:
                raise AssertionError(f"waited in vain for {event} {facts}; seen: {self.seen[-5:]}") from None
            self.seen.append(line)
            if line["event"] == event and all(line.get(name) == value for name, value in facts.items()):
                return line

    def answer(self, event: str) -> list[str]:
        """The keys of all lines of this kind so far."""
        while not self._lines.empty():
            self.seen.append(self._lines.get())
        return [line["key"] for line in self.seen if line["event"] == event]

    def say(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        self._signal(signal.SIGKILL)
        self._process.wait(TIMEOUT_S)
        self._reader.join(TIMEOUT_S)

    def pause(self) -> None:
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        os.kill(self._process.pid, number)

    def finish(self) -> None:
        """Let it close its broker; it must exit well."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(TIMEOUT_S) == 0

    def end(self) -> None:
        if self._process.poll() is None:
            self.kill()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._reader.join(TIMEOUT_S)


@dataclass
class Harness(ABC):
    """One driver under test, with an environment of its own.

    Attributes:
        prefix: The topic prefix of this test's environment.
        rechecks: Whether the driver sends check-backs for half messages that are resolved already.
        tries: After how many a message is a dead letter.
        retry_pauses: The least pause after the first, second, … failed try, in seconds.
        handlers: How many messages one subscription handles at once.
        take_over_after: After how many seconds the messages of a dead process come to another one.
        counts_lost_tries: Whether a try counts whose process died; else the message comes again as the same try.
        woken_within: Seconds in which a message reaches a waiting process, half of the time, on a busy machine.
    """

    prefix: str
    rechecks: bool = False
    tries: int = 3
    retry_pauses: tuple[float, ...] = ()
    handlers: int = 8
    take_over_after: float = 2.0
    counts_lost_tries: bool = True
    woken_within: float = 0.25
    _brokers: list[Broker] = field(default_factory=list)
    _workers: list[Worker] = field(default_factory=list)

    @abstractmethod
    def url(self) -> str:
        """What `open_broker` takes."""

    @abstractmethod
    def restart(self) -> None:
        """Kill the engine, if there is one, and start it again."""

    @abstractmethod
    def transaction_topic(self) -> str:
        """Make a new topic for half messages."""

    @abstractmethod
    def topic(self) -> str:
        """Make a new topic for plain and delayed messages."""

    def open(self) -> Broker:
        """Open one more broker in this process; it is closed at the end."""
        broker = open_broker(self.url(), topic_prefix=self.prefix, clock=SystemClock())
        self._brokers.append(broker)
        return broker

    def started(
        self,
        *,
        handlers: dict[tuple[str, str], Handler] | None = None,
        checkers: dict[str, Checker] | None = None,
    ) -> Broker:
        """Open and start a broker with handlers by (topic, group) and checkers by topic."""
        broker = self.open()
        for (topic, group), handler in (handlers or {}).items():
            broker.subscribe(topic, group, handler)
        for topic, checker in (checkers or {}).items():
            broker.answer_check_backs(topic, checker)
        broker.start()
        return broker

    def worker(self, *arguments: str) -> Worker:
        """Start another process; see `worker.py` for what it does."""
        worker = Worker(self.url(), self.prefix, *arguments)
        self._workers.append(worker)
        return worker

    def end(self) -> None:
        for worker in self._workers:
            worker.end()
        for broker in self._brokers:
            broker.close()


@dataclass
class EmbeddedHarness(Harness):
    folder: Path = Path()

    def __post_init__(self) -> None:
        self.retry_pauses = (0.05, 0.25)

    def url(self) -> str:
        return (
            f"embedded:///{self.folder}/broker.db?check_after=0.3&check_every=0.2&lease={self.take_over_after}"
            f"&tries={self.tries}&retry_after=0.05&recheck={'on' if self.rechecks else 'off'}"
        )

    def restart(self) -> None:
        """There is no engine but the processes themselves."""

    def transaction_topic(self) -> str:
        return f"transactions-{uuid4().hex}"

    def topic(self) -> str:
        return f"messages-{uuid4().hex}"
