"""What a call costs each program in processor time: the inputs of `scripts.bench.simulate`."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

import psutil

from scripts.bench.harness.load import Kind
from scripts.bench.harness.rounds import Rounds
from scripts.bench.harness.testbed import Testbed
from scripts.bench.harness.worlds import Servers

SELL: Final = "Sell"
CREATE: Final = "CreateOrder"
LOAD: Final = "load generator"
FEWER: Final = "by half of the callers"
_MICROSECONDS: Final = 1e6
_IDLE_MOMENTS: Final = 5
_IDLE_MOMENT_S: Final = 2.0
_ENGINES: Final = ("mariadb", "redis", "rocketmq-broker")


def costs(testbed: Testbed) -> Iterator[None]:
    """Processor time a call by program, without what it takes when idle; and what more callers get there."""
    rounds = Rounds(testbed)
    kinds = {SELL: Kind.SELL, CREATE: Kind.CREATE}
    for kind in kinds.values():  # Java compiles as it goes
        testbed.load(testbed.full_speed(kind, testbed.skus))
    idle = _idle(testbed)
    for _ in rounds:
        yield
        for name, kind in kinds.items():
            _note(testbed, rounds, name, kind, idle)
            rounds.load(name, testbed.full_speed(kind, testbed.skus))
    rounds.report()
    for name in kinds:
        rounds.rate(name)
        for program in (*_programs(testbed), LOAD):
            rounds.value(f"{name}, {program}", "µs")


def _note(testbed: Testbed, rounds: Rounds, name: str, kind: Kind, idle: Mapping[str, float]) -> None:
    plan = testbed.full_speed(kind, testbed.skus)
    before, began = _taken(testbed), time.monotonic()
    measured = rounds.load(f"{name}, {FEWER}", replace(plan, callers=plan.callers // 2))
    took = time.monotonic() - began
    for program, seconds in _taken(testbed).items():
        spent = seconds - before[program] - idle[program] * took
        rounds.note(f"{name}, {program}", max(0.0, spent) / measured.calls * _MICROSECONDS)
    rounds.note(f"{name}, {LOAD}", measured.cpu["load"] / measured.calls * _MICROSECONDS)


def _idle(testbed: Testbed) -> Mapping[str, float]:
    """Seconds of processor time a second that each program takes while nobody calls.

    Of several moments the least: in the first ones the broker still works off what the last load left behind.
    """
    found: dict[str, float] = {}
    for _ in range(_IDLE_MOMENTS):
        before, began = _taken(testbed), time.monotonic()
        time.sleep(_IDLE_MOMENT_S)
        took = time.monotonic() - began
        for program, seconds in _taken(testbed).items():
            found[program] = min((seconds - before[program]) / took, found.get(program, float("inf")))
    return found


def _taken(testbed: Testbed) -> Mapping[str, float]:
    """Seconds of processor time that each program has taken so far."""
    return {program: sum(map(_seconds, pids)) for program, pids in _programs(testbed).items()}


def _programs(testbed: Testbed) -> Mapping[str, tuple[int, ...]]:
    """The processes by program."""
    assert isinstance(testbed.world, Servers), "engines that are part of the services have no costs of their own"
    engines = {name: (testbed.world.cluster.pid(name),) for name in _ENGINES}
    return {**{name: tuple(pids) for name, pids in testbed.pids().items()}, **engines}


def _seconds(pid: int) -> float:
    taken = psutil.Process(pid).cpu_times()
    return float(taken.user + taken.system)
