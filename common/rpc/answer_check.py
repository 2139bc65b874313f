"""Finds instances that take calls and never answer, so that new calls go to the others.

A server that stopped, or whose machine or network did, keeps its connections for a while, and a balancer goes on
calling it. Which instance a call waits for is not told by gRPC. So once a call is slow, every instance is asked
something cheap, and asked again while one of them is silent. One that is merely slow is back soon.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any, Final

import grpc
import structlog

from common.discovery.port import Addresses

_SLOW_S: Final = 0.1
_LOOK_S: Final = 0.1  # how often the calls under way are looked at, while there are any
_TIMEOUT_S: Final = 0.2
_PAUSE_S: Final = 0.5  # between two rounds
_SILENCE: Final = (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE)


log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Probe:
    """A cheap question that every instance can answer.

    It should need what calls need, its database for one: then an instance that lost that is found too.

    Attributes:
        method: Its full name, `/package.Service/Method`.
        request: Serialized.
    """

    method: str
    request: bytes


class AnswerCheck:
    """Asks all instances, from the first slow call on until each of them answers. In a thread of its own.

    Args:
        probe: What they are asked.
        addresses: The instances that there are now.
        connect: Opens a channel to one of them.
        age: For how many seconds the oldest call has been under way; 0: there is none.
        tell: Called with the silent ones after each round. A round in which all are silent tells nothing about any of
            them: something that they share is out of order.
    """

    def __init__(
        self,
        probe: Probe,
        *,
        addresses: Callable[[], Addresses],
        connect: Callable[[str], grpc.Channel],
        age: Callable[[], float],
        tell: Callable[[frozenset[str]], None],
    ) -> None:
        self._probe = probe
        self._addresses = addresses
        self._connect = connect
        self._age = age
        self._tell = tell
        self._awake = Event()
        self._closed = Event()
        self._thread = Thread(target=self._run, name="answer-check", daemon=True)
        self._thread.start()

    def call_began(self) -> None:
        """To be called after each call's begin: without calls the check sleeps."""
        if not self._awake.is_set():
            self._awake.set()

    def close(self) -> None:
        self._closed.set()
        self._awake.set()

    def _run(self) -> None:
        while self._awake.wait() and not self._closed.wait(_LOOK_S):
            try:
                self._look()
            except Exception:
                log.exception("check of instances failed")

    def _look(self) -> None:
        age = self._age()
        if age > _SLOW_S:
            self._ask_until_all_answer()
        elif not age:
            self._awake.clear()
            if self._age() or self._closed.is_set():  # since the look: whoever came found it awake
                self._awake.set()

    def _ask_until_all_answer(self) -> None:
        silent: frozenset[str] = frozenset()
        channels: dict[str, grpc.Channel] = {}
        with ExitStack() as closing:
            while not self._closed.is_set():
                addresses = self._addresses()
                for address in addresses:
                    if address not in channels:
                        channels[address] = closing.enter_context(self._connect(address))
                silent = self._ask_all({address: channels[address] for address in addresses}, silent)
                if not silent:
                    return
                self._closed.wait(_PAUSE_S)

    def _ask_all(self, channels: Mapping[str, grpc.Channel], before: frozenset[str]) -> frozenset[str]:
        """Those that are silent, who are told; `before` was found in the round before."""
        silent = frozenset(self._silent(channels))
        if len(silent) == len(channels):
            return before
        self._tell(silent)
        return silent

    def _silent(self, channels: Mapping[str, grpc.Channel]) -> Iterator[str]:
        calls: dict[str, Any] = {}
        for address, channel in channels.items():
            ask: Any = channel.unary_unary(self._probe.method)
            calls[address] = ask.future(self._probe.request, timeout=_TIMEOUT_S)
        for address, call in calls.items():
            if call.code() in _SILENCE:  # waits for the call's end
                yield address
