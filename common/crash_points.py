"""Named points between two outside effects.

A use case says that it reached one. In production nothing happens; a test names a point in `…_CRASH_AT` and the
process kills itself there, or stops there until it is continued, or passes a function that holds the caller at the
point.
"""

import signal
import threading
from collections.abc import Callable, Iterable
from typing import Any

from common.text_rules import TextRule

CrashHook = Callable[[str], None]
"""Called with a point's name when that point is reached."""


class CrashPointName(TextRule):
    """A crash point of a service, `stop:` before it to stop there; or empty."""

    def __init__(self, points: Iterable[str]) -> None:
        self._points = list(points)

    @property
    def allowed(self) -> str:
        return f"empty, or one of these, `stop:` before it to stop there: {', '.join(self._points)}"

    def read(self, text: str) -> str:
        return text

    def allows(self, value: Any) -> bool:
        return value == "" or value.removeprefix("stop:") in self._points


def no_crash(point: str) -> None:
    """Pass every point: what production does."""


def crash_at(point: str) -> CrashHook:
    """Kill this process (SIGKILL, no clean-up) when `point` is reached; an empty name never is.

    `stop:` before the name: stop the process instead (SIGSTOP), the first time only.
    """
    if not point:
        return no_crash
    stops = point.startswith("stop:")
    points = {point.removeprefix("stop:")}

    def crash_hook(here: str) -> None:
        if here in points:
            points.clear()
            # To this thread: the whole process stops, but sent to the process, this thread might go on for a moment.
            signal.pthread_kill(threading.get_ident(), signal.SIGSTOP if stops else signal.SIGKILL)

    return crash_hook
