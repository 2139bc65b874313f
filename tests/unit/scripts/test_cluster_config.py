"""The configuration of the cluster's programs: where to listen, what to keep, how to find each other."""

import configparser
import json
import os
import shlex
import socket
from dataclasses import astuple
from pathlib import Path
from typing import TypeVar

import psutil
import pytest
from dotenv import dotenv_values

from common.process.cpu_affinity import allowed_cpus
from common.process.settings import ServiceSettings
from inventory_srv.settings import InventorySettings
from order_srv.domain.messages import ORDER_REBACK, ORDER_TIMEOUT
from order_srv.settings import OrderSettings
from scripts.cluster.cluster import Cluster
from scripts.cluster.ports import DEFAULT_BASE, Ports, PortTaken, check_free
from scripts.cluster.program import CannotRun, Program
from scripts.cluster.services import settings_from_environment
from scripts.cluster.supervision import Supervisor, configuration, make_socket_folder, socket_folder
from scripts.cluster.topics import TYPES
from tests.unit.scripts.cluster_machine import Machine

_DEFAULTS_OF_ENGINES = {3306, 6379, 8081, 8080, 9876, 10909, 10911, 10912, 8300, 8301, 8302, 8500, 8600}
_FIRST_CLIENT_PORT = 32768
_REPOSITORY = Path(__file__).parents[3]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path, monkeypatch)
    made.has_engines()
    return made


@pytest.fixture
def cluster(machine: Machine, tmp_path: Path) -> Cluster:
    return Cluster(tmp_path / "100 % mine", Ports.block(DEFAULT_BASE))


def every_port(ports: Ports) -> list[int]:
    return [port for each in astuple(ports) for port in (each if isinstance(each, tuple) else (each,))] + [
        ports.broker_fast
    ]


def program(cluster: Cluster, name: str) -> Program:
    return next(each for each in cluster.programs if each.name == name)


def lines(text: str) -> dict[str, str]:
    """The `name = value` lines of a configuration."""
    return {name.strip(): value.strip() for name, _, value in (line.partition("=") for line in text.splitlines())}


@pytest.mark.parametrize("ports", [Ports.block(DEFAULT_BASE), Ports.free()], ids=["block", "free"])
def test_every_port_is_another(ports: Ports) -> None:
    assert len(set(every_port(ports))) == len(every_port(ports))


def test_the_default_ports_are_nobody_elses() -> None:
    numbers = set(every_port(Ports.block(DEFAULT_BASE)))
    assert not numbers & _DEFAULTS_OF_ENGINES
    assert max(numbers) < _FIRST_CLIENT_PORT


@pytest.mark.parametrize("base", [0, -1, 65530, 70000])
def test_a_base_without_room_for_a_block_is_refused(base: int) -> None:
    with pytest.raises(ValueError, match="can't begin"):
        Ports.block(base)


def test_a_taken_port_is_named_with_who_has_it() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortTaken) as refused:
            check_free([("mariadb", port)])
    name = psutil.Process().name()
    assert str(refused.value) == f"port {port}, for mariadb, is taken by {name} (pid {os.getpid()})"


def test_the_programs_listen_on_different_ports_which_are_all_the_clusters(cluster: Cluster) -> None:
    answer = [port for each in cluster.programs for port in each.ports]
    assert sorted(answer) == sorted(every_port(cluster.ports))


def parsed(text: str, folder: Path) -> configparser.RawConfigParser:
    """As the supervisor reads it, which expands what begins with %."""
    reader = configparser.RawConfigParser(inline_comment_prefixes=(";",))
    reader.read_string(text)
    return reader


def test_the_supervisor_gets_every_command_as_it_is(cluster: Cluster) -> None:
    reader = parsed(configuration(cluster.folder, cluster.programs), cluster.folder)
    for each in cluster.programs:
        section = reader[f"program:{each.name}"]
        assert shlex.split(section["command"] % {}) == list(each.command)
        assert section["directory"] % {} == str(each.folder)


def test_the_supervisor_starts_nothing_by_itself_and_restarts_what_died(cluster: Cluster) -> None:
    reader = parsed(configuration(cluster.folder, cluster.programs), cluster.folder)
    sections = [reader[name] for name in reader.sections() if name.startswith("program:")]
    assert len(sections) == 9
    assert {(each["autostart"], each["autorestart"]) for each in sections} == {("false", "true")}


def test_a_folder_with_a_long_path_has_its_sockets_elsewhere(tmp_path: Path) -> None:
    assert socket_folder(Path("/short")) == Path("/short")
    deep = tmp_path / ("deep" * 30)
    elsewhere = socket_folder(deep)
    assert not elsewhere.exists(), "to ask where it is leaves nothing behind"
    make_socket_folder(deep)
    try:
        assert len(str(elsewhere / "supervisor.sock")) < 100
        assert socket_folder(deep) == elsewhere
        assert elsewhere.stat().st_mode & 0o077 == 0
    finally:
        elsewhere.rmdir()


@pytest.mark.usefixtures("machine")
def test_a_cluster_with_a_long_path_has_the_folder_of_its_sockets_when_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("deep" * 30)
    there: list[bool] = []

    def start(_: Supervisor) -> None:
        there.append(socket_folder(deep).is_dir())
        raise CannotRun("enough")

    monkeypatch.setattr(Supervisor, "start", start)
    cluster = Cluster(deep, Ports.free())
    with pytest.raises(CannotRun, match="enough"):
        cluster.up(engines_only=True)
    cluster.down(purge=True)
    assert there == [True]
    assert not socket_folder(deep).exists()


def test_engines_listen_on_the_loopback_address_alone(cluster: Cluster) -> None:
    files = {name: text for each in cluster.programs for name, text in each.files.items()}
    assert lines(files["mariadb.cnf"])["bind-address"] == "127.0.0.1"
    assert "bind 127.0.0.1" in files["redis.conf"].splitlines()
    assert lines(files["nameserver.conf"])["bindAddress"] == "127.0.0.1"
    assert lines(files["broker.conf"])["bindAddress"] == "127.0.0.1"
    consul = json.loads(files["consul.json"])
    assert (consul["bind_addr"], consul["client_addr"]) == ("127.0.0.1", "127.0.0.1")
    for name in ("rocketmq-nameserver", "rocketmq-broker"):  # the proxy has no setting for it
        assert "OnLoopback" in program(cluster, name).command


def test_what_was_acknowledged_is_on_disk(cluster: Cluster) -> None:
    assert lines(program(cluster, "mariadb").files["mariadb.cnf"])["innodb_flush_log_at_trx_commit"] == "1"
    assert lines(program(cluster, "rocketmq-broker").files["broker.conf"])["flushDiskType"] == "SYNC_FLUSH"


def test_the_database_is_set_up_as_in_containers(cluster: Cluster) -> None:
    in_containers = (_REPOSITORY / "docker" / "mariadb" / "reback.cnf").read_text(encoding="utf-8")
    wanted = {name: value for name, value in lines(in_containers).items() if not name.startswith("#")}
    assert wanted.items() <= lines(program(cluster, "mariadb").files["mariadb.cnf"]).items()


def test_settings_of_the_broker_go_over_the_clusters_own(machine: Machine, tmp_path: Path) -> None:
    other = Cluster(tmp_path / "other", Ports.block(DEFAULT_BASE), broker={"transactionTimeOut": "2000"})
    answer = lines(program(other, "rocketmq-broker").files["broker.conf"])  # the last of two counts, there as here
    assert answer["transactionTimeOut"] == "2000"


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in settings_from_environment():
        monkeypatch.delenv(name)


S = TypeVar("S", bound=ServiceSettings)


def settings_of(service: Program, of: type[S]) -> S:
    """What the service reads in its folder."""
    service.write_files()
    prefix = str(of.model_config["env_prefix"])
    values = dotenv_values(service.folder / ".env")
    return of.model_validate({name.removeprefix(prefix).lower(): value for name, value in values.items()})


@pytest.mark.usefixtures("no_settings")
def test_every_replica_finds_the_engines_and_has_ports_of_its_own(cluster: Cluster) -> None:
    inventory = settings_of(program(cluster, "inventory-2"), InventorySettings)
    order = settings_of(program(cluster, "order-1"), OrderSettings)
    assert inventory.listen == f"127.0.0.1:{cluster.ports.inventory[1]}"
    assert order.listen == f"127.0.0.1:{cluster.ports.order[0]}"
    assert inventory.database_url.reveal() == f"{cluster.mysql_url}/inventory"
    assert order.database_url.reveal() == f"{cluster.mysql_url}/order"
    assert inventory.cache_url is not None
    assert inventory.lock_url.reveal() == inventory.cache_url.reveal() == cluster.redis_url
    services: tuple[ServiceSettings, ...] = (inventory, order)
    for each in services:
        assert each.broker_url.reveal() == f"{cluster.rocketmq_url}?nameserver={cluster.nameserver}"
        assert each.discovery_url.reveal() == cluster.consul_url


def cpu_of(service: Program) -> str | None:
    service.write_files()
    return dotenv_values(service.folder / ".env")[f"{service.group.upper()}_CPU"]


@pytest.mark.parametrize(("cpus", "chosen"), [(2, "0110"), (3, "0121"), (4, "0132"), (8, "0176")])
def test_no_replica_shares_a_cpu_while_another_is_idle(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cpus: int, chosen: str
) -> None:
    monkeypatch.setattr("scripts.lib.cpus.allowed_cpus", lambda: list(range(cpus)))
    cluster = Cluster(tmp_path / "c", Ports.block(DEFAULT_BASE), settings={})
    names = ["inventory-1", "inventory-2", "order-1", "order-2"]
    assert [cpu_of(program(cluster, name)) for name in names] == list(chosen)


def test_a_cpu_that_was_set_for_all_replicas_is_theirs(machine: Machine, tmp_path: Path) -> None:
    cluster = Cluster(tmp_path / "c", Ports.free(), settings={"ORDER_CPU": "any"})
    assert cpu_of(program(cluster, "order-2")) == "any"
    assert cpu_of(program(cluster, "inventory-2")) != "any" or not allowed_cpus()


@pytest.mark.parametrize("value", ["7", 'it\'s "so" \\ # 5 $HOME', "a=b c"])
def test_a_setting_for_the_services_reaches_them_as_it_is(machine: Machine, tmp_path: Path, value: str) -> None:
    service = program(Cluster(tmp_path / "c", Ports.free(), settings={"ORDER_PAY_WITHIN": value}), "order-2")
    service.write_files()
    assert dotenv_values(service.folder / ".env")["ORDER_PAY_WITHIN"] == value


def test_settings_of_the_environment_are_for_all_replicas_but_for_the_ports(
    monkeypatch: pytest.MonkeyPatch, no_settings: None
) -> None:
    monkeypatch.setenv("ORDER_PAY_WITHIN", "3")
    monkeypatch.setenv("ORDER_LISTEN", "127.0.0.1:50051")
    monkeypatch.setenv("INVENTORY_METRICS_LISTEN", "127.0.0.1:9464")
    assert settings_from_environment() == {"ORDER_PAY_WITHIN": "3"}


def test_topics_have_the_type_that_the_order_service_sends() -> None:
    assert TYPES == {ORDER_REBACK: "TRANSACTION", ORDER_TIMEOUT: "DELAY"}


@pytest.mark.parametrize("missing", ["mariadbd", "redis-server", "java"])
def test_an_engine_that_is_not_installed_is_named_with_what_brings_it(
    machine: Machine, cluster: Cluster, missing: str
) -> None:
    (machine.programs / missing).unlink()
    with pytest.raises(CannotRun, match="make cluster-install"):
        _ = cluster.programs


def test_an_unchanged_configuration_is_told_from_a_changed_one(cluster: Cluster) -> None:
    assert program(cluster, "redis").write_files()
    assert not program(cluster, "redis").write_files()
    (cluster.folder / "redis" / "redis.conf").write_text("port 1\n")
    assert program(cluster, "redis").write_files()
