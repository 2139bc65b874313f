"""A gate around the handlers, so that a server can stop without breaking a call.

gRPC answers CANCELLED to a call that reaches it as it stops and that it has not yet handed to Python, and a client must
not repeat that. Under load there always are such calls. So, just before the stop, calls may still arrive but neither
begin nor end: callers who wait for an answer send nothing new, and in a moment every call that was on its way is in
Python's hands. These the server finishes. Their callers learn that it stops before they get their answers.
"""

import time
from datetime import timedelta
from threading import Event
from typing import Final

_QUIET: Final = timedelta(milliseconds=250)
_AT_MOST: Final = timedelta(seconds=2)


class Gate:
    """Open, until the server stops.

    Attributes:
        closed: Whether calls have to `wait`.
    """

    def __init__(self) -> None:
        self.closed = False
        self._last_arrival = 0.0
        self._opened = Event()

    def arrive(self) -> float:
        """Note a call that came in; the time on the monotonic clock."""
        self._last_arrival = now = time.monotonic()
        return now

    def wait(self) -> None:
        """Wait until it is open; look at `closed` first, which costs every call less."""
        self._opened.wait()

    def close_until_quiet(self) -> None:
        """Close, and return when no call has come in for a moment; soon in any case."""
        self._opened.clear()
        self.closed = True
        now = time.monotonic()
        end = now + _AT_MOST.total_seconds()
        while now < (until := min(end, self._last_arrival + _QUIET.total_seconds())):
            time.sleep(until - now)
            now = time.monotonic()

    def open(self) -> None:
        self.closed = False
        self._opened.set()
