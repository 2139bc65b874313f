"""Until when a caller waits, and whether it still waits."""

import time
from collections.abc import Callable
from threading import Lock


class _Caller:
    """Whether a caller is gone; shared by every deadline of its call. Minimal, since each call has one."""

    gone = False
    listeners: tuple[Callable[[], None], ...] = ()


_changing_listeners = Lock()  # one for all callers: it is held for an instant, and most calls never need it


class Deadline:
    """When a caller stops waiting: a point on the monotonic clock, or the moment when it hangs up.

    It travels from the RPC through use cases to remote calls and waits, so that nobody works for a caller that is
    gone. Safe to share between threads.

    Attributes:
        at: The point on the monotonic clock, in seconds.
    """

    __slots__ = ("_caller", "at")

    def __init__(self, at: float, _caller: _Caller | None = None) -> None:
        self.at = at
        self._caller = _caller or _Caller()

    @classmethod
    def after(cls, seconds: float) -> "Deadline":
        return cls(time.monotonic() + seconds)

    def earlier_by(self, seconds: float) -> "Deadline":
        """The same caller's deadline, `seconds` earlier: time that is left for later steps."""
        return Deadline(self.at - seconds, self._caller)

    def remaining(self) -> float:
        """Seconds left, never below zero; zero when cancelled."""
        return 0.0 if self._caller.gone else max(0.0, self.at - time.monotonic())

    @property
    def passed(self) -> bool:
        return self._caller.gone or time.monotonic() >= self.at

    @property
    def cancelled(self) -> bool:
        """Whether the caller hung up; a deadline that merely passed is not cancelled."""
        return self._caller.gone

    def cancel(self) -> None:
        """The caller hung up: call every listener. Harmless when repeated."""
        caller = self._caller
        caller.gone = True
        if caller.listeners:
            with _changing_listeners:
                listeners, caller.listeners = caller.listeners, ()
            for tell in listeners:
                tell()

    def on_cancel(self, tell: Callable[[], None]) -> Callable[[], None]:
        """Call `tell` once when the caller hangs up; immediately if it already has.

        It runs on the thread that learns of it, so it must be quick and must not raise: set a flag, wake a waiter.

        Returns:
            A function that removes this listener, for when the wait is over.
        """
        caller = self._caller
        with _changing_listeners:
            caller.listeners = (*caller.listeners, tell)
        if caller.gone:  # perhaps since a moment ago: then either this or that cancel() finds the listener
            self.cancel()

        def forget() -> None:
            with _changing_listeners:
                caller.listeners = tuple(each for each in caller.listeners if each is not tell)

        return forget
