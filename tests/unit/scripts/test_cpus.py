"""Which CPU each service of the benchmark and of the local cluster gets: none shares one by chance."""

import os
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import pytest

from common.process.cpu_affinity import ANY, CpuChoice, allowed_cpus
from scripts.bench.harness import replicas
from scripts.bench.harness.replicas import INVENTORY, ORDER, Replicas
from scripts.bench.harness.worlds import Embedded
from scripts.bench.strategies.server import Settings
from scripts.lib.cpus import cpu_of, cpu_of_replica


class Started:
    """A service that is never started: it keeps its settings."""

    def __init__(
        self, module: str, _folder: Path, _log: Path, settings: dict[str, str], _python: Path, _title: str
    ) -> None:
        self.module = module
        self.settings = settings
        self.address = f"127.0.0.1:{len(settings)}"

    def start(self) -> None:
        pass

    stop = kill = start


class World(Embedded):
    """Embedded engines, where services find each other all the same."""

    finds_replicas = True


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Replicas:
    monkeypatch.setattr(replicas, "Service", Started)
    monkeypatch.setattr(replicas, "cpu_of_replica", partial(cpu_of_replica, allowed=[2, 5]))
    services = Replicas(World(), tmp_path / "part")
    services.new_databases()
    return services


def cpus(services: Replicas, service: str) -> list[str]:
    name = f"{service.upper()}_CPU"
    return [each.settings[name] for each in services.running if each.module == f"{service}_srv"]  # type: ignore[attr-defined]


def test_the_cpus_are_given_in_turn() -> None:
    assert [cpu_of(number, [2, 5, 7]) for number in range(4)] == ["2", "5", "7", "2"]
    assert [cpu_of(number, [3]) for number in range(2)] == ["3", "3"]


def test_where_a_process_cannot_choose_its_cpu_the_system_does() -> None:
    assert cpu_of(1, []) == ANY


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason=f"{sys.platform} does not tell which CPUs there are")
def test_a_cpu_that_is_given_is_one_that_a_service_accepts() -> None:
    for service in (INVENTORY, ORDER):
        given = [cpu_of_replica(service, number) for number in range(len(allowed_cpus()))]
        assert sorted(map(int, map(CpuChoice().check, given))) == allowed_cpus()


@pytest.mark.parametrize("cpus", range(1, 9))
def test_two_replicas_of_each_service_share_a_cpu_only_where_none_is_idle(cpus: int) -> None:
    allowed = list(range(cpus))
    firsts, seconds = ([cpu_of_replica(kind, number, allowed) for kind in (INVENTORY, ORDER)] for number in (0, 1))
    shared = Counter(firsts + seconds)
    assert len(shared) == min(cpus, 4)
    assert max(shared.values()) == -(-4 // cpus)
    assert len(set(firsts)) == min(cpus, 2), "the first of each, which alone run where there is one of each"
    for service in (INVENTORY, ORDER):
        assert len({cpu_of_replica(service, number, allowed) for number in (0, 1)}) == min(cpus, 2)


def test_inventory_and_order_do_not_share_a_cpu_and_neither_do_two_replicas(started: Replicas) -> None:
    started.start(INVENTORY, 1, {})
    started.start(ORDER, 1, {})
    assert (cpus(started, INVENTORY), cpus(started, ORDER)) == (["2"], ["5"])
    with started.one_more(INVENTORY, {}, found=True):
        assert cpus(started, INVENTORY) == ["2", "5"]
    started.stop(ORDER)
    started.start(ORDER, 2, {})
    assert cpus(started, ORDER) == ["5", "2"]


def test_a_hidden_replica_runs_where_the_one_does_that_it_is_compared_with(started: Replicas) -> None:
    started.start(INVENTORY, 1, {})
    with started.one_more(INVENTORY, {}, found=False), started.one_more(INVENTORY, {}, found=False):
        assert cpus(started, INVENTORY) == ["2", "2", "2"]


def test_a_cpu_that_the_settings_name_is_left(started: Replicas) -> None:
    started.start(INVENTORY, 1, {"INVENTORY_CPU": "any"})
    with started.one_more(INVENTORY, {"INVENTORY_CPU": "5"}, found=False):
        assert cpus(started, INVENTORY) == ["any", "5"]


def test_a_strategy_is_given_its_cpu_as_a_service_is() -> None:
    assert Settings(name="row-lock", database_url="", redis_url="").cpu == "auto"
    with pytest.raises(ValueError, match=r"this process may run on|this system lets no process"):
        Settings(name="row-lock", database_url="", redis_url="", cpu="-1")
