"""Ending a program that has started others: by which signals, and at which moments not."""

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Final

_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def leave_in_order_on_signals() -> None:
    """Let SIGTERM and SIGHUP unwind this program, as Ctrl-C does, so that whatever it started is stopped."""

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGHUP, leave)
    # A shell starts background jobs with Ctrl-C ignored, and Python leaves it so.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def signals_held_back() -> Iterator[None]:
    """Let a signal that would unwind this program do so at the end of a `with` block, not in the middle.

    For the start of a process: one that is interrupted just there runs on, and nobody knows it.
    """
    if threading.current_thread() is not threading.main_thread():  # signals interrupt only that one
        yield
        return
    came: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    def pass_on() -> None:
        if came:  # the first one: the program unwinds then, which a second one would disturb
            signal.raise_signal(came[0])

    with ExitStack() as held_back:
        held_back.callback(pass_on)  # the last thing
        for number in _ENDING:
            handler = signal.getsignal(number)
            if callable(handler):  # else the system ends the program at once, or it is ignored
                held_back.callback(signal.signal, number, handler)  # first: a signal may come in between
                signal.signal(number, note)
        yield
