"""Finds instances that take calls and never answer, so that new calls go to the others.

A server that stopped, or whose machine or network did, keeps its connections for a while, and a balancer goes on
calling it. Which instance let a call expire is not told by gRPC. So the first call that expires starts a check: every
instance is asked something cheap, and asked again while one of them is silent.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from threading import Event, Lock, Thread
from typing import Any, Final

import grpc

from common.discovery.port import Addresses

_TIMEOUT_S: Final = 0.5
_PAUSE_S: Final = 0.25  # between two rounds
_SILENCE: Final = (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.UNAVAILABLE)


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
    """Asks all instances from the first doubt on until each of them answers.

    Args:
        probe: What they are asked.
        addresses: The instances that there are now.
        connect: Opens a channel to one of them.
        tell: Called with the silent ones after each round. A round in which all are silent tells nothing about any of
            them: something that they share is out of order.
    """

    def __init__(
        self,
        probe: Probe,
        addresses: Callable[[], Addresses],
        connect: Callable[[str], grpc.Channel],
        tell: Callable[[frozenset[str]], None],
    ) -> None:
        self._probe = probe
        self._addresses = addresses
        self._connect = connect
        self._tell = tell
        self._running = False
        self._doubted = False
        self._closed = Event()
        self._changing = Lock()

    def doubt(self) -> None:
        """A call expired: perhaps an instance hangs. Returns at once."""
        with self._changing:
            self._doubted = True
            if self._running or self._closed.is_set():
                return
            self._running = True
        Thread(target=self._run, name="answer-check", daemon=True).start()

    def close(self) -> None:
        self._closed.set()

    def _run(self) -> None:
        silent: frozenset[str] = frozenset()
        channels: dict[str, grpc.Channel] = {}
        with ExitStack() as closing:
            while True:
                with self._changing:
                    self._doubted = False
                addresses = self._addresses()
                for address in addresses:
                    if address not in channels:
                        channels[address] = closing.enter_context(self._connect(address))
                silent = self._ask_all({address: channels[address] for address in addresses}, silent)
                if not self._goes_on(silent):
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

    def _goes_on(self, silent: frozenset[str]) -> bool:
        with self._changing:
            self._running = bool(silent or self._doubted) and not self._closed.is_set()
            return self._running
