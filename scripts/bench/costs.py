"""What a call costs each program in processor time: the inputs of `scripts.bench.simulate`."""

from collections.abc import Mapping
from typing import Final

import psutil

from scripts.bench.load import Kind, Plan
from scripts.bench.rounds import Rounds
from scripts.bench.site import Site
from scripts.bench.worlds import Servers

SELL: Final = "Sell"
CREATE: Final = "CreateOrder"
LOAD: Final = "load generator"
_HALF: Final = 0.5
_MICROSECONDS: Final = 1e6
_ENGINES: Final = ("mariadb", "redis", "rocketmq-broker")


def costs(site: Site) -> None:
    """Processor time a call by program, at half of what the machine can do, and what it can do."""
    rounds = Rounds(site)
    for _ in rounds:
        for name, kind in ((SELL, Kind.SELL), (CREATE, Kind.CREATE)):
            most = rounds.load(name, site.full_speed(kind, site.skus)).rate
            _note(site, rounds, name, site.paced(kind, site.skus, most * _HALF))
    rounds.tell()
    for name in (SELL, CREATE):
        rounds.rate(name)
        for program in (*_programs(site), LOAD):
            rounds.value(f"{name}, {program}", "µs")


def _note(site: Site, rounds: Rounds, name: str, plan: Plan) -> None:
    before = _taken(site)
    measured = rounds.load(f"{name}, at half of its most", plan)
    for program, seconds in _taken(site).items():
        rounds.note(f"{name}, {program}", (seconds - before[program]) / measured.calls * _MICROSECONDS)
    rounds.note(f"{name}, {LOAD}", measured.cpu["load"] / measured.calls * _MICROSECONDS)


def _taken(site: Site) -> Mapping[str, float]:
    """Seconds of processor time that each program has taken so far."""
    return {program: sum(map(_seconds, pids)) for program, pids in _programs(site).items()}


def _programs(site: Site) -> Mapping[str, tuple[int, ...]]:
    """The processes by program."""
    assert isinstance(site.world, Servers), "engines that are part of the services have no costs of their own"
    engines = {name: (site.world.cluster.pid(name),) for name in _ENGINES}
    return {**{name: tuple(pids) for name, pids in site.pids().items()}, **engines}


def _seconds(pid: int) -> float:
    taken = psutil.Process(pid).cpu_times()
    return float(taken.user + taken.system)
