"""Holding a service at named crash points, or doing something there."""

from collections.abc import Callable
from threading import Event, Lock

from tests.support.waiting import TIMEOUT_S


class Hold:
    """One place to be held at."""

    def __init__(self) -> None:
        self._here = Event()
        self._gone = Event()

    def wait(self) -> None:
        """Wait until somebody is held."""
        assert self._here.wait(TIMEOUT_S), "nobody came to the point"

    def let_go(self) -> None:
        self._gone.set()

    def stay(self) -> None:
        self._here.set()
        assert self._gone.wait(TIMEOUT_S), "held for ever"


class Holds:
    """A `crash_hook`: what a test asked for happens to the next who comes to a point, once; everybody else passes."""

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
        """Hold the next who comes to `point`."""
        hold = Hold()
        self._held.append(hold)
        self.do_at(point, hold.stay)
        return hold

    def do_at(self, point: str, act: Callable[[], None]) -> None:
        """Let the next who comes to `point` do something; what it raises is raised there."""
        with self._changing:
            self._next[point] = act

    def let_all_go(self) -> None:
        with self._changing:
            self._next.clear()
        for hold in self._held:
            hold.let_go()
