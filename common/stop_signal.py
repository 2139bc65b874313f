"""The word to stop: SIGTERM or SIGINT."""

import signal
from threading import Event
from types import FrameType


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
        return self._came.wait(seconds)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        self._came.set()
