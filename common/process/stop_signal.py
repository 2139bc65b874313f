"""Signals that stop a process, SIGTERM and SIGINT, and what they do before it is ready for them."""

import os
import select
import signal
from collections.abc import Sequence
from types import FrameType
from typing import Final

_STOPPING: Final = (signal.SIGTERM, signal.SIGINT)


def end_quietly_on_ctrl_c() -> None:
    """Let SIGINT end the process at once, without a traceback, until a `StopSignal` is made.

    For the first line of a program: importing the rest takes a while, and nothing has been started by then.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell's background job ignores it
        signal.signal(signal.SIGINT, signal.SIG_DFL)


class StopSignal:
    """Notes the first SIGTERM or SIGINT so that a program can end in order.

    Make it first thing on the main thread: a signal that comes while the program still starts is then not lost.

    A signal interrupts the main thread anywhere, or comes in the instant before it begins to wait, or goes to another
    thread. So nothing is done about it but what C does: its number is written into a pipe, which `wait` reads. An
    Event would not do: setting one takes its lock, which the interrupted thread may hold.

    Attributes:
        number: The signal that `wait` saw first; 0: none yet.

    Args:
        numbers: The signals that stop the program.
        second_ends: Whether another signal ends the process at once. A program that has to stop others first passes it
            over.
    """

    def __init__(self, numbers: Sequence[signal.Signals] = _STOPPING, *, second_ends: bool = True) -> None:
        self.number = 0
        self._stopping = tuple(numbers)
        self._second_ends = second_ends
        self._numbers, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        for number in self._stopping:
            signal.signal(number, self._note)

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for a signal; whether one came within `seconds`, which an unrelated signal starts anew."""
        while not self.number:
            readable, _, _ = select.select([self._numbers], [], [], seconds)
            if not readable:
                return False
            self.number = next((each for each in os.read(self._numbers, 64) if each in self._stopping), 0)
        return True

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        if self._second_ends:
            for number in self._stopping:
                signal.signal(number, signal.SIG_DFL)
