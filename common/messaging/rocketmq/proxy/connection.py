"""Clients that are replaced when they have lost the proxy."""

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
_LAST_CALLS_S: Final = 10.0  # what calls on a client may take that was replaced meanwhile

C = TypeVar("C", bound=Client)


class Connection(Generic[C]):
    """One client, always the newest.

    Args:
        name: For logs.
        make: Makes a client and starts it; raises `Unavailable`.

    Attributes:
        trouble: Why there was no client the last time.
    """

    def __init__(self, name: str, make: Callable[[], C]) -> None:
        self.name = name
        self.trouble = ""
        self._make = make
        self._client: C | None = None
        self._replaced: list[tuple[float, C]] = []

    @property
    def client(self) -> C:
        """The client.

        Raises:
            BrokerUnavailable: There is none now.
        """
        client = self._client
        if client is None:
            raise BrokerUnavailable("cut off from RocketMQ")
        return client

    def open(self) -> None:
        self._client = self._make()

    # What the keeper calls, in its thread.

    def keep(self) -> bool:
        """Look whether the client is well, and replace it if it is not; whether there is a client now."""
        client = self._client
        if client is not None:
            if _is_surely_known(client):
                return True
            log.info("the proxy does not know this client any more", client=self.name)
            self._replaced.append((time.monotonic(), client))
            self._client = None  # whatever becomes of the next one: nobody gets a client that is being stopped
        try:
            self._client = self._make()
        except Unavailable as error:
            self.trouble = str(error)
            log.debug("not back yet", client=self.name, error=self.trouble)
            return False
        log.info("connected to RocketMQ again", client=self.name)
        return True

    def stop_replaced(self, older_than: float = _LAST_CALLS_S) -> None:
        """Stop clients that were replaced so long ago that no call waits for them."""
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
    """Ask twice where the first answer came at once: two who write settings at the same time disturb each other."""
    before = time.monotonic()
    return is_known(client) or (time.monotonic() - before < _AT_ONCE_S and is_known(client))


class ConnectionMonitor:
    """Looks after the connections of a broker in one thread, and tells when they are cut off and when they are back.

    Args:
        every: The pause between two looks, in seconds.

    Attributes:
        reachability: Tells listeners.
    """

    def __init__(self, every: float) -> None:
        self._every = every
        self._connections: list[Connection[Any]] = []
        self.reachability = Reachability("RocketMQ")
        self._look_now = Event()
        self._closing = Event()
        self._lock = Lock()
        self._thread = Thread(target=self._run, name="rocketmq-keeper", daemon=True)

    def add(self, connection: Connection[Any]) -> None:
        """Look after a connection that is open."""
        with self._lock:
            self._connections.append(connection)
            if not self._thread.is_alive() and not self._closing.is_set():
                self._thread.start()

    def check_now(self) -> None:
        """A call has failed: look at once whether the proxy is there."""
        self._look_now.set()

    def close(self) -> None:
        """Stop looking, then stop all clients."""
        with self._lock:
            self._closing.set()
        self._look_now.set()
        if self._thread.is_alive() and self._thread is not current_thread():
            self._thread.join()
        for connection in self._connections:
            connection.close()

    def _run(self) -> None:
        pause = _FIRST_PAUSE_S
        while not self._closing.is_set():
            if self.reachability.is_reachable:
                self._look_now.wait(self._every)
            else:
                self._closing.wait(pause)  # calls that fail are no news now
                pause = min(2 * pause, _LONGEST_PAUSE_S)
            self._look_now.clear()
            if self._closing.is_set():
                return
            if self._keep_all():
                pause = _FIRST_PAUSE_S
                self.reachability.report(reachable=True)

    def _keep_all(self) -> bool:
        """Look after each, also after one that is cut off; that is told at once, because others may take their time."""
        well = True
        for connection in list(self._connections):
            if not self._keep(connection):
                well = False
                self.reachability.report(reachable=False, why=connection.trouble)
        return well

    def _keep(self, connection: Connection[Any]) -> bool:
        try:
            connection.stop_replaced()
            return connection.keep()
        except Exception:  # whatever the client raises: the keeper must go on
            log.exception("a client could not be looked after", client=connection.name)
            return False
