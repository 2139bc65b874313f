"""How signals end a program that has started other processes, so that none is left behind."""

import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Final

from common.process.stop_signal import StopSignal

_ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_POLL_S: Final = 0.1
_UNWINDS_WITHIN_S: Final = 15.0  # a call that waits for an answer gives up sooner
SIGNALLED: Final = 128
"""A shell's exit code of a program that a signal ended, less the signal's number."""


def run_until_signal(work: Callable[[], int], *, end: Callable[[], None]) -> tuple[int, signal.Signals | None]:
    """Run `work` on a thread of its own; at the first signal, call `end` and wait until the work has unwound.

    A signal interrupts nothing: no exception is thrown into the middle of a start or of a clean-up, where it would
    leave a process behind. So it does not matter when one comes, or how many.

    Args:
        work: Returns an exit code.
        end: Ends what the work has started and keeps it from starting more, so that the work fails. Again is harmless.

    Returns:
        The work's exit code and no signal, or the signal's exit code and the signal.

    Raises:
        BaseException: What `work` raised, when no signal came before; what `end` raised.
    """
    stop = StopSignal(_ENDING, second_ends=False)
    outcome: Future[int] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001 the caller gets it
            outcome.set_exception(error)

    worker = threading.Thread(target=run, daemon=True)
    worker.start()
    while not outcome.done() and not stop.wait(_POLL_S):
        pass
    if outcome.done():
        return outcome.result(), None
    end()
    worker.join(_UNWINDS_WITHIN_S)
    for number in _ENDING:  # while Python ends, it takes its own handlers away
        signal.signal(number, signal.SIG_IGN)
    return SIGNALLED + stop.number, signal.Signals(stop.number)


def leave_in_order_on_signals() -> None:
    """Let the first SIGINT, SIGTERM or SIGHUP unwind this program, so that whatever it started is stopped.

    Another one is passed over: it would interrupt the unwinding, and leave a process behind.
    """

    def pass_over(_number: int, _frame: FrameType | None) -> None:
        pass

    def leave(number: int, _frame: FrameType | None) -> None:
        for each in _ENDING:
            signal.signal(each, pass_over)  # not SIG_IGN, which processes started from here on would inherit
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        raise SystemExit(SIGNALLED + number)

    # SIGINT too: a shell starts background jobs with Ctrl-C ignored, and Python leaves it so.
    for number in _ENDING:
        signal.signal(number, leave)


@contextmanager
def signals_held_back() -> Iterator[None]:
    """Let a signal that would unwind this program do so at the end of a `with` block, not in the middle.

    For the start of a process: one that is interrupted just there runs on, and nobody knows it. For a clean-up: one
    that is interrupted leaves the rest undone.
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
