"""A gate before the handlers, so that a server can stop without breaking a call.

gRPC answers CANCELLED to a call that it has received but not yet handed to Python when the server stops, and a client
must not repeat that. Under load there always are such calls. So, just before the stop, calls may still arrive but not
begin: callers who wait for an answer send nothing new, and in a moment every call that was received is in Python's
hands. These the server finishes.
"""

import time
from datetime import timedelta
from threading import Event
from typing import Final

_QUIET: Final = timedelta(milliseconds=20)
_AT_MOST: Final = timedelta(milliseconds=300)


class Gate:
    """Open, until the server stops."""

    def __init__(self) -> None:
        self._last_arrival = 0.0
        self._closed = False
        self._opened = Event()

    def arrive(self) -> float:
        """Note a call that came in; the time on the monotonic clock."""
        self._last_arrival = now = time.monotonic()
        return now

    def pass_through(self) -> None:
        """Wait while the gate is closed."""
        if self._closed:
            self._opened.wait()

    def close_until_quiet(self) -> None:
        """Close, and return when no call has come in for a moment; soon in any case."""
        self._closed = True
        self._opened.clear()
        now = self.arrive()
        end = now + _AT_MOST.total_seconds()
        while now < (until := min(end, self._last_arrival + _QUIET.total_seconds())):
            time.sleep(until - now)
            now = time.monotonic()

    def open(self) -> None:
        self._closed = False
        self._opened.set()
