"""Callers at work while something happens to what they call."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from typing import Any, Final
from uuid import uuid4

import grpc

from common.rpc.errors import to_domain_error
from tests.support.waiting import TIMEOUT_S, wait_until

CALLERS: Final = 8
WARM: Final = 50  # answers before anything happens


@dataclass(frozen=True)
class Failure:
    """A call that failed.

    Attributes:
        began, ended: When, in seconds of the monotonic clock.
    """

    key: str
    code: grpc.StatusCode
    reason: str
    began: float
    ended: float


class Traffic:
    """Callers that make one call after another until `end`, whatever the answers are.

    Attributes:
        answers: The answer to each request that got one, by its key.
        failures: The others, in the order of their ends.
    """

    def __init__(self, call: Callable[[str], Any], callers: ThreadPoolExecutor, count: int) -> None:
        self.answers: dict[str, Any] = {}
        self.failures: list[Failure] = []
        self._call = call
        self._ended = Event()
        self._working = [callers.submit(self._keep_calling) for _ in range(count)]

    def answered(self, count: int = WARM, timeout_s: float = TIMEOUT_S) -> None:
        """Wait for so many more answers."""
        wanted = len(self.answers) + count
        wait_until(lambda: len(self.answers) >= wanted or self._broken(), f"{wanted} answers", timeout_s)

    def since(self, moment: float) -> list[Failure]:
        """The failures of calls that began after a moment of the monotonic clock."""
        return [failure for failure in self.failures if failure.began >= moment]

    @property
    def codes(self) -> set[grpc.StatusCode]:
        """What the failed calls ended with."""
        return {failure.code for failure in self.failures}

    def end(self) -> None:
        """Return when every caller has its last answer."""
        self._ended.set()
        for worker in self._working:
            worker.result(2 * TIMEOUT_S)

    def _broken(self) -> bool:
        return any(worker.done() for worker in self._working)

    def _keep_calling(self) -> None:
        while not self._ended.is_set():
            key, began = uuid4().hex, time.monotonic()
            try:
                self.answers[key] = self._call(key)
            except grpc.RpcError as error:
                reason = to_domain_error(error).reason
                self.failures.append(Failure(key, error.code(), reason, began, time.monotonic()))
                self._ended.wait(0.01)  # a caller that is refused at once does not try a thousand times a second


@contextmanager
def traffic(call: Callable[[str], Any], callers: int = CALLERS) -> Iterator[Traffic]:
    """Traffic that is well under way.

    Args:
        call: Makes a call whose key is given; a failed one raises grpc.RpcError.
        callers: How many call at once.
    """
    with ThreadPoolExecutor(callers) as pool:
        flowing = Traffic(call, pool, callers)
        try:
            flowing.answered()
            yield flowing
        finally:
            flowing.end()
