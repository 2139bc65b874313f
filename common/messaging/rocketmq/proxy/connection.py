"""Replaces clients that have lost the proxy."""

import time
from collections.abc import Callable
from threading import Event, Lock, Thread, current_thread
from typing import Any, Final, Generic, TypeVar

import structlog

from common.errors import Unavailable
from common.messaging.port import BrokerUnavailable
from common.messaging.reachability import Reachability
from common.messaging.rocketmq.proxy.client import Client, is_known, stop

log = structlog.get_logger(__name__)

_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 1.0
_AT_ONCE_S: Final = 0.5
_LAST_CALLS_S: Final = 10.0  # how long calls may still use a client that was replaced

C = TypeVar("C", bound=Client)


class Connection(Generic[C]):
    """One client, replaced as often as needed.

    Args:
        name: For logs.
        make: Creates and starts a client; raises `Unavailable`.

    Attributes:
        trouble: Why the last attempt to create one failed.
    """

    def __init__(self, name: str, make: Callable[[], C]) -> None:
        self.name = name
        self.trouble = ""
        self._make = make
        self._client: C | None = None
        self._replaced: list[tuple[float, C]] = []

    @property
    def client(self) -> C:
        """The current client.

        Raises:
            BrokerUnavailable: There is none now.
        """
        client = self._client
        if client is None:
            raise BrokerUnavailable("RocketMQ is unreachable")
        return client

    def open(self) -> None:
        self._client = self._make()

    # Called by the monitor, in its thread.

    def check_and_replace(self) -> bool:
        """Replace the client unless the proxy knows it. Returns whether there is a client now."""
        client = self._client
        if client is not None:
            if _is_surely_known(client):
                return True
            log.info("the proxy no longer knows this client", client=self.name)
            self._replaced.append((time.monotonic(), client))
            self._client = None  # even if the next one fails, nobody gets a client that is being stopped
        try:
            self._client = self._make()
        except Unavailable as error:
            self.trouble = str(error)
            log.debug("not connected yet", client=self.name, error=self.trouble)
            return False
        log.info("connected to RocketMQ again", client=self.name)
        return True

    def stop_replaced(self, older_than: float = _LAST_CALLS_S) -> None:
        """Stop clients that were replaced so long ago that no call can be waiting for them."""
        before = time.monotonic() - older_than
        for each in [each for each in self._replaced if each[0] <= before]:
            self._replaced.remove(each)
            stop(each[1])

    def close(self) -> None:
        self.stop_replaced(0)
        client, self._client = self._client, None
        if client is not None:
            stop(client)


def _is_surely_known(client: Client) -> bool:
    """Ask twice if the first refusal came at once: two threads that write settings at a time disturb each other."""
    before = time.monotonic()
    return is_known(client) or (time.monotonic() - before < _AT_ONCE_S and is_known(client))


class ConnectionMonitor:
    """Checks a broker's connections in one thread, and reports when they are lost and when they are back.

    Args:
        every: Seconds between two checks.

    Attributes:
        reachability: Tells listeners.
    """

    def __init__(self, every: float) -> None:
        self._every = every
        self._connections: list[Connection[Any]] = []
        self.reachability = Reachability("RocketMQ")
        self._check_now = Event()
        self._closing = Event()
        self._lock = Lock()
        self._thread = Thread(target=self._run, name="rocketmq-monitor", daemon=True)

    def add(self, connection: Connection[Any]) -> None:
        """Begin to check a connection, which is open."""
        with self._lock:
            self._connections.append(connection)
            if not self._thread.is_alive() and not self._closing.is_set():
                self._thread.start()

    def check_now(self) -> None:
        """Check at once, because a call has failed."""
        self._check_now.set()

    def close(self) -> None:
        """Stop checking, then stop all clients."""
        with self._lock:
            self._closing.set()
        self._check_now.set()
        if self._thread.is_alive() and self._thread is not current_thread():
            self._thread.join()
        for connection in self._connections:
            connection.close()

    def _run(self) -> None:
        pause = _FIRST_PAUSE_S
        while not self._closing.is_set():
            if self.reachability.is_reachable:
                self._check_now.wait(self._every)
            else:
                self._closing.wait(pause)  # no hurry: failed calls are no news now
                pause = min(2 * pause, _LONGEST_PAUSE_S)
            self._check_now.clear()
            if self._closing.is_set():
                return
            if self._check_all():
                pause = _FIRST_PAUSE_S
                self.reachability.report(reachable=True)

    def _check_all(self) -> bool:
        """Check each; a lost one is reported at once, because the others may take a while."""
        well = True
        for connection in list(self._connections):
            if not self._check(connection):
                well = False
                self.reachability.report(reachable=False, why=connection.trouble)
        return well

    def _check(self, connection: Connection[Any]) -> bool:
        try:
            connection.stop_replaced()
            return connection.check_and_replace()
        except Exception:  # whatever the client raises, the monitor must go on
            log.exception("connection check failed", client=connection.name)
            return False
