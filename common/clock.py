"""What time it is: the only source of time for expiry, grace and sweeping."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Event, Lock, Thread
from typing import Final, Protocol

import structlog

from common.errors import Unavailable

log = structlog.get_logger(__name__)

_SAMPLES: Final = 4


class Clock(Protocol):
    """Tells the time. Every service has exactly one."""

    def now(self) -> datetime:
        """Return the time now, aware, in UTC."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class DatabaseClock:
    """The time of a database's server: the same for every replica, whatever the clocks of their machines say.

    It runs on this machine's monotonic clock and is set by the server each `every`. It never goes back: when the server
    is behind, it stands still until the server has caught up. While the server can't be reached it runs on.

    Args:
        ask: Returns the server's time; raises `Unavailable` when the server can't be reached.
        every: The pause between two settings.
        monotonic: Returns seconds that only grow.
    """

    def __init__(
        self,
        ask: Callable[[], datetime],
        *,
        every: timedelta = timedelta(seconds=30),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask = ask
        self._every = every.total_seconds()
        self._monotonic = monotonic
        self._at_zero = datetime.now(UTC) - timedelta(seconds=monotonic())  # until it is set: this machine's time
        self._latest = datetime.min.replace(tzinfo=UTC)
        self._lock = Lock()
        self._closing = Event()
        self._thread = Thread(target=self._run, name="database-clock", daemon=True)

    def now(self) -> datetime:
        with self._lock:
            self._latest = max(self._latest, self._at_zero + timedelta(seconds=self._monotonic()))
            return self._latest

    def set(self) -> None:
        """Set it by the server's time, asked for a few times: the quickest answer is the most precise.

        Raises:
            Unavailable: The server can't be reached; the clock runs on as it was.
        """
        _, at_zero = min(self._asked() for _ in range(_SAMPLES))
        with self._lock:
            self._at_zero = at_zero

    def start(self) -> None:
        """Set it now, and then each `every`.

        Raises:
            Unavailable: The server can't be reached.
        """
        self.set()
        if not self._thread.is_alive():
            self._thread.start()

    def close(self) -> None:
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join()

    def _asked(self) -> tuple[float, datetime]:
        """How long the answer took, and the server's time at this machine's zero, if it was read half-way."""
        before = self._monotonic()
        told = self._ask()
        after = self._monotonic()
        return after - before, told - timedelta(seconds=(before + after) / 2)

    def _run(self) -> None:
        while not self._closing.wait(self._every):
            try:
                self.set()
            except Unavailable as error:
                log.warning("the clock could not be set by the database", error=str(error))
            except Exception:  # the clock must go on, whatever a driver raises
                log.exception("the clock could not be set by the database")
