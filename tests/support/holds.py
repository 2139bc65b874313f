"""A crash hook that holds a service at named points, or acts there."""

from collections.abc import Callable
from threading import Event, Lock

from tests.support.waiting import TIMEOUT_S


class Hold:
    """A point at which the first to come is held until `release`."""

    def __init__(self) -> None:
        self._here = Event()
        self._gone = Event()

    def wait(self) -> None:
        """Wait until something is held here."""
        assert self._here.wait(TIMEOUT_S), "nothing came to the point"

    def release(self) -> None:
        self._gone.set()

    def stay(self) -> None:
        self._here.set()
        assert self._gone.wait(TIMEOUT_S), "held for ever"


class Holds:
    """A `crash_hook`: a test's action runs once, at the next arrival at its point; all others pass."""

    def __init__(self) -> None:
        self._next: dict[str, Callable[[], None]] = {}
        self._held: list[Hold] = []
        self._changing = Lock()

    def __call__(self, point: str) -> None:
        with self._changing:
            act = self._next.pop(point, None)
        if act is not None:
            act()

    def at(self, point: str) -> Hold:
        """Hold the next arrival at `point`."""
        hold = Hold()
        self._held.append(hold)
        self.do_at(point, hold.stay)
        return hold

    def do_at(self, point: str, act: Callable[[], None]) -> None:
        """Run `act` at the next arrival at `point`; what it raises is raised there."""
        with self._changing:
            self._next[point] = act

    def release_all(self) -> None:
        with self._changing:
            self._next.clear()
        for hold in self._held:
            hold.release()
