"""The word to stop: SIGTERM or SIGINT."""

import math
import signal
import time
from threading import Event
from types import FrameType
from typing import Final

# A signal does not always wake the thread that waits: it may be given to another thread, or come in the instant before
# the wait begins. Python then calls the handler only when the main thread runs again, so it waits in spells.
_SPELL_S: Final = 0.25


class StopSignal:
    """Notes the first SIGTERM or SIGINT so that a program can end in order; the second ends it at once.

    Make it first thing on the main thread: a signal that comes while the program still starts is then not lost.
    """

    def __init__(self) -> None:
        self._came = Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until told to stop; whether that was so within `seconds`."""
        until = math.inf if seconds is None else time.monotonic() + seconds
        while not self._came.wait(max(0.0, min(_SPELL_S, until - time.monotonic()))):
            if time.monotonic() >= until:
                return False
        return True

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        self._came.set()
