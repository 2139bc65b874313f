"""The word to stop: SIGTERM or SIGINT."""

import os
import select
import signal
from types import FrameType
from typing import Final

_STOPPING: Final = (signal.SIGTERM, signal.SIGINT)


class StopSignal:
    """Notes the first SIGTERM or SIGINT so that a program can end in order; the second ends it at once.

    Make it first thing on the main thread: a signal that comes while the program still starts is then not lost.

    A signal interrupts the main thread anywhere, or comes in the instant before it begins to wait, or goes to another
    thread. So nothing is done about it but what C does: its number is written into a pipe, which `wait` reads. An
    Event would not do: setting one takes its lock, which the interrupted thread may hold.
    """

    def __init__(self) -> None:
        self._came = False
        self._numbers, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing)
        for number in _STOPPING:
            signal.signal(number, self._next_one_ends)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until told to stop; whether that was so within `seconds`, which another signal starts anew."""
        while not self._came:
            readable, _, _ = select.select([self._numbers], [], [], seconds)
            if not readable:
                return False
            self._came = any(number in _STOPPING for number in os.read(self._numbers, 64))
        return True

    def _next_one_ends(self, _number: int, _frame: FrameType | None) -> None:
        for number in _STOPPING:
            signal.signal(number, signal.SIG_DFL)
