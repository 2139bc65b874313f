"""Reback's Redis lock side by side with redis-py's and python-redis-lock's: `python -m scripts.bench.locks`.

Each measure runs all locks one after the other, round by round, so that they share the machine's good and bad moments;
the table has the median of the rounds. It counts on a Redis that nobody else uses.
"""

import multiprocessing
import multiprocessing.synchronize
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Annotated, Any, Final

import redis
import redis_lock
import typer
from rich.console import Console
from rich.table import Table

from common.deadline import Deadline
from common.lock.drivers import open_lock
from scripts.lib.command_line import WrongUsage, run

Hold = Callable[[Sequence[str]], AbstractContextManager[Any]]
"""Holds keys for the length of a `with` block."""

_TIMEOUT_S: Final = 60
_EXPIRY_S: Final = 15
_PROCESSES: Final = 4
_WAITERS: Final = 32


@contextmanager
def _reback(url: str) -> Iterator[Hold]:
    lock = open_lock(url)
    yield lambda keys: lock.holding(keys, Deadline.after(_TIMEOUT_S))
    lock.close()


@contextmanager
def _redis_py(url: str, sleep: float) -> Iterator[Hold]:
    with redis.Redis.from_url(url) as client:
        yield lambda keys: _each(
            client.lock(key, timeout=_EXPIRY_S, sleep=sleep, blocking_timeout=_TIMEOUT_S) for key in keys
        )


@contextmanager
def _python_redis_lock(url: str, *, renewal: bool) -> Iterator[Hold]:
    with redis.Redis.from_url(url) as client:
        yield lambda keys: _each(redis_lock.Lock(client, key, expire=_EXPIRY_S, auto_renewal=renewal) for key in keys)


@contextmanager
def _each(locks: Iterator[Any]) -> Iterator[None]:
    """Locks that know one key: one after the other, in an order that all keep to."""
    with ExitStack() as held:
        for lock in locks:
            held.enter_context(lock)
        yield


_LOCKS: Final[dict[str, Callable[[str], AbstractContextManager[Hold]]]] = {
    "Reback": _reback,
    "redis-py, polls each 100 ms": lambda url: _redis_py(url, 0.1),
    "redis-py, polls each 10 ms": lambda url: _redis_py(url, 0.01),
    "python-redis-lock": lambda url: _python_redis_lock(url, renewal=False),
    "python-redis-lock, renewed": lambda url: _python_redis_lock(url, renewal=True),
}


@dataclass
class _Figures:
    """What one lock did in one round: cycles a second, and how long each took, in seconds."""

    rate: float
    took: list[float]

    def at(self, part: float) -> float:
        """The time within which `part` of the cycles were done, in ms."""
        return sorted(self.took)[min(len(self.took) - 1, int(len(self.took) * part))] * 1000


def _alone(name: str, url: str, keys: Sequence[str], seconds: float) -> _Figures:
    """One thread takes and gives back keys that nobody else wants."""
    took = []
    with _LOCKS[name](url) as hold:
        for _ in range(100):
            with hold(keys):
                pass
        end = time.perf_counter() + seconds
        began = time.perf_counter()
        while (cycle := time.perf_counter()) < end:
            with hold(keys):
                pass
            took.append(time.perf_counter() - cycle)
        return _Figures(len(took) / (time.perf_counter() - began), took)


def _crowd(name: str, url: str, keys: Sequence[str], seconds: float) -> _Figures:
    """32 threads in 4 processes take and give back the same keys; what counts is the wait for them."""
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Barrier(_PROCESSES)
    with ProcessPoolExecutor(_PROCESSES, spawn, _start_with, (ready,)) as processes:
        parts = [processes.submit(_part_of_crowd, name, url, keys, seconds) for _ in range(_PROCESSES)]
        waits = [wait for part in parts for wait in part.result()]
    return _Figures(len(waits) / seconds, waits)


_ready: "multiprocessing.synchronize.Barrier"  # in a process of a crowd: all are there


def _start_with(ready: "multiprocessing.synchronize.Barrier") -> None:
    global _ready  # noqa: PLW0603 how a pool hands something to its processes
    _ready = ready


def _part_of_crowd(name: str, url: str, keys: Sequence[str], seconds: float) -> list[float]:
    waits: list[float] = []
    with _LOCKS[name](url) as hold:
        with hold([f"{key}:{secrets.token_hex(4)}" for key in keys]):  # it is connected
            _ready.wait()
        end = time.perf_counter() + seconds

        def work() -> None:
            while (asked := time.perf_counter()) < end:
                with hold(keys):
                    waits.append(time.perf_counter() - asked)

        threads = [threading.Thread(target=work) for _ in range(_WAITERS // _PROCESSES)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return waits


_MEASURES: Final = {
    "one key, nobody else": (_alone, 1),
    "ten keys, nobody else": (_alone, 10),
    "one key, 32 waiters in 4 processes": (_crowd, 1),
    "ten keys, 32 waiters in 4 processes": (_crowd, 10),
}


def compare(
    url: Annotated[str, typer.Option("--redis", help="A Redis that nobody else uses.")],
    rounds: Annotated[int, typer.Option(min=1, help="How often everything is measured.")] = 5,
    seconds: Annotated[float, typer.Option(min=0.2, help="How long each lock is measured in a round.")] = 2.0,
) -> None:
    """Measure, and print one table for each measure."""
    try:
        with redis.Redis.from_url(url) as client:
            client.ping()
    except (ValueError, redis.RedisError) as error:
        raise WrongUsage(f"--redis: {error}") from error
    for title, (measure, wanted) in _MEASURES.items():
        found: dict[str, list[_Figures]] = {name: [] for name in _LOCKS}
        for _ in range(rounds):
            for name, figures in found.items():
                keys = [f"lock:bench:{secrets.token_hex(4)}:{n}" for n in range(wanted)]
                figures.append(measure(name, url, keys, seconds))
        _report(title, found)


def _report(title: str, found: dict[str, list[_Figures]]) -> None:
    table = Table(title=title, title_justify="left")
    for heading in ("lock", "cycles a second", "range", "median ms", "p99 ms", "longest ms"):
        table.add_column(heading, justify="left" if heading == "lock" else "right")
    for name, rounds in found.items():
        rates = [each.rate for each in rounds]
        parts = [f"{median(each.at(part) for each in rounds):.2f}" for part in (0.5, 0.99)]
        longest = f"{max(each.at(1) for each in rounds):.2f}"
        table.add_row(name, f"{median(rates):.0f}", f"{min(rates):.0f} to {max(rates):.0f}", *parts, longest)
    Console(width=120).print(table)


if __name__ == "__main__":
    run(compare)
