import os

import pytest
from structlog.testing import capture_logs

from common.process.cpu_affinity import ANY, AUTO, CpuChoice, allowed_cpus, choose_cpu, set_cpu_affinity

OTHER, BATCH, IDLE = 0, 3, 5  # Linux' numbers

MACHINES = ([0], [0, 1], [0, 1, 2], [3, 7], list(range(64)))

on_every_machine = pytest.mark.parametrize("allowed", MACHINES, ids=lambda cpus: f"{len(cpus)} CPUs")


class System:
    """Stands in for the operating system.

    Attributes:
        cpus: Those that this process may run on.
        policy: How its threads are scheduled.
    """

    def __init__(self, cpus: set[int]) -> None:
        self.cpus = cpus
        self.policy = OTHER

    def get(self, _pid: int) -> set[int]:
        return self.cpus

    def set(self, _pid: int, cpus: set[int]) -> None:
        self.cpus = cpus

    def get_policy(self, _pid: int) -> int:
        return self.policy

    def set_policy(self, _pid: int, policy: int, _param: object) -> None:
        self.policy = policy


@pytest.fixture
def system(monkeypatch: pytest.MonkeyPatch) -> System:
    """A machine whose CPUs 2, 5 and 6 this process may use."""
    system = System({2, 5, 6})
    monkeypatch.setattr(os, "sched_getaffinity", system.get, raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", system.set, raising=False)
    monkeypatch.setattr(os, "sched_getscheduler", system.get_policy, raising=False)
    monkeypatch.setattr(os, "sched_setscheduler", system.set_policy, raising=False)
    monkeypatch.setattr(os, "sched_param", lambda priority: priority, raising=False)
    for name, policy in (("SCHED_OTHER", OTHER), ("SCHED_BATCH", BATCH), ("SCHED_IDLE", IDLE)):
        monkeypatch.setattr(os, name, policy, raising=False)
    return system


@pytest.fixture
def no_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system on which a process can't choose its CPU, such as macOS."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)


@on_every_machine
@pytest.mark.parametrize("host", ["", "vm", "inventory-1", "3f9c0b2a81d4", "7"])
def test_by_itself_it_takes_one_that_is_allowed_and_always_the_same(host: str, allowed: list[int]) -> None:
    chosen = {choose_cpu(AUTO, host, 50052, allowed) for _ in range(3)}
    assert len(chosen) == 1
    assert chosen <= set(allowed)


@on_every_machine
@pytest.mark.parametrize("host", ["vm", "web12", "3f9c0b2a81d4"])
def test_as_many_ports_in_a_row_as_there_are_cpus_take_one_each(host: str, allowed: list[int]) -> None:
    ports = range(17301, 17301 + len(allowed))
    assert {choose_cpu(AUTO, host, port, allowed) for port in ports} == set(allowed)


@on_every_machine
@pytest.mark.parametrize("name", ["inventory-", "order-", "node", ""])
def test_as_many_numbered_hosts_with_the_same_port_as_there_are_cpus_take_one_each(
    name: str, allowed: list[int]
) -> None:
    hosts = [f"{name}{number}" for number in range(8, 8 + len(allowed))]
    assert {choose_cpu(AUTO, host, 50052, allowed) for host in hosts} == set(allowed)


def test_hosts_without_a_number_spread_by_their_names() -> None:
    hosts = [f"inventory-5d9c7b-{end}" for end in ("x7k2p", "qqf8z", "b4mnt", "hh2ws", "z9dkc", "lp5rv")]
    assert len({choose_cpu(AUTO, host, 50052, [0, 1, 2, 3]) for host in hosts}) > 1


@on_every_machine
def test_told_its_number_it_takes_that_one_and_told_any_it_takes_none(allowed: list[int]) -> None:
    assert [choose_cpu(str(cpu), "vm", 50052, allowed) for cpu in allowed] == allowed
    assert choose_cpu(ANY, "vm", 50052, allowed) is None


def test_where_the_system_gives_no_choice_it_takes_none() -> None:
    assert choose_cpu(AUTO, "vm", 50052, []) is None


@pytest.mark.parametrize("choice", [AUTO, ANY, "2", "5", "6"])
def test_a_choice_that_can_be_met_is_taken_as_it_is(system: System, choice: str) -> None:
    assert CpuChoice().check(choice) == choice


@pytest.mark.usefixtures("system")
@pytest.mark.parametrize("choice", ["0", "3", "-2", "02", "2.0", "2,5", "2-5", "", "all"])
def test_any_other_choice_is_refused_with_the_cpus_that_there_are(choice: str) -> None:
    with pytest.raises(ValueError, match=r"; this process may run on CPU 2, 5, 6$"):
        CpuChoice().check(choice)


@pytest.mark.usefixtures("no_choice")
def test_where_the_system_gives_no_choice_a_number_is_refused() -> None:
    assert allowed_cpus() == []
    assert [CpuChoice().check(choice) for choice in (AUTO, ANY)] == [AUTO, ANY]
    with pytest.raises(ValueError, match=r"; this system lets no process choose one$"):
        CpuChoice().check("0")


@pytest.mark.usefixtures("no_choice")
@pytest.mark.parametrize("choice", [AUTO, ANY])
def test_where_the_system_gives_no_choice_a_process_runs_as_it_is(choice: str) -> None:
    with capture_logs() as logs:
        set_cpu_affinity(choice, "127.0.0.1:50052")
    assert logs == []


def test_a_process_is_kept_to_one_and_says_which(system: System) -> None:
    with capture_logs() as logs:
        set_cpu_affinity("5", "127.0.0.1:50052")
    assert system.cpus == {5}
    assert logs == [{"event": "kept to one CPU", "cpu": 5, "log_level": "info"}]


def test_where_a_process_is_kept_its_threads_don_t_interrupt_each_other(system: System) -> None:
    set_cpu_affinity("5", "127.0.0.1:50052")
    assert system.policy == BATCH


def test_the_class_that_its_owner_chose_is_left_alone(system: System) -> None:
    system.policy = IDLE
    set_cpu_affinity("5", "127.0.0.1:50052")
    assert (system.cpus, system.policy) == ({5}, IDLE)


def test_where_there_is_no_such_class_it_is_kept_to_one_all_the_same(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "SCHED_BATCH")
    set_cpu_affinity("5", "127.0.0.1:50052")
    assert (system.cpus, system.policy) == ({5}, OTHER)


def test_where_a_sandbox_forbids_the_class_it_is_kept_to_one_and_says_so(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setscheduler", forbidden, raising=False)
    with capture_logs() as logs:
        set_cpu_affinity("5", "127.0.0.1:50052")
    assert system.cpus == {5}
    assert [log["event"] for log in logs] == ["kept to one CPU", "threads interrupt each other"]


def test_processes_that_listen_on_ports_in_a_row_are_kept_to_one_each(system: System) -> None:
    taken = set()
    for port in (50051, 50052, 50053):
        system.cpus = {2, 5, 6}
        set_cpu_affinity(AUTO, f"127.0.0.1:{port}")
        taken |= system.cpus
    assert taken == {2, 5, 6}


def test_for_port_0_the_pid_stands_in(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = set()
    for pid in (1007, 1008, 1009):
        system.cpus = {2, 5, 6}
        monkeypatch.setattr(os, "getpid", lambda pid=pid: pid)
        set_cpu_affinity(AUTO, "127.0.0.1:0")
        taken |= system.cpus
    assert taken == {2, 5, 6}


def test_told_any_a_process_keeps_all_it_has(system: System) -> None:
    set_cpu_affinity(ANY, "127.0.0.1:50052")
    assert (system.cpus, system.policy) == ({2, 5, 6}, OTHER)


def test_where_a_sandbox_forbids_it_the_service_goes_on_and_says_so(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(_pid: int, _cpus: set[int]) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "sched_setaffinity", forbidden, raising=False)
    with capture_logs() as logs:
        set_cpu_affinity("5", "127.0.0.1:50052")
    assert system.cpus == {2, 5, 6}
    assert [(log["event"], log["cpu"], log["log_level"]) for log in logs] == [("not kept to one CPU", 5, "warning")]
    assert "not permitted" in logs[0]["error"]
