"""What a schema can't tell of docker/: that its parts fit each other, the services' settings and the local cluster."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from dotenv import dotenv_values
from ruamel.yaml import YAML

from common.addresses import split_address
from common.process.cpu_affinity import choose_cpu
from common.process.settings import ServiceSettings, read_settings
from inventory_srv import bootstrap as inventory_bootstrap
from inventory_srv.entrypoints import consumers as inventory_consumers
from inventory_srv.settings import InventorySettings
from order_srv import bootstrap as order_bootstrap
from order_srv.domain.messages import ORDER_REBACK, ORDER_TIMEOUT
from order_srv.settings import OrderSettings
from scripts.cluster.install.engine_cache import CONSUL_VERSION, ROCKETMQ_VERSION

DOCKER = Path(__file__).parents[2] / "docker"
COMPOSE = YAML(typ="safe").load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
OURS = {
    "inventory-1": InventorySettings,
    "inventory-2": InventorySettings,
    "order-1": OrderSettings,
    "order-2": OrderSettings,
}
ENDING = {"rocketmq-volume", "rocketmq-topics"}
ENGINES = SERVICES.keys() - OURS.keys()

VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<rest>[^}]*))?\}")


def example() -> dict[str, str]:
    return {name: value or "" for name, value in dotenv_values(DOCKER / ".env.example").items()}


def filled_in(text: str) -> str:
    """As compose would with `.env.example` where every password is `secret`."""
    values = {name: value or ("secret" if name.endswith("PASSWORD") else "") for name, value in example().items()}
    return VARIABLE.sub(lambda match: values[match["name"]], text)


def environment(service: str) -> dict[str, str]:
    return {name: filled_in(str(value)) for name, value in SERVICES[service]["environment"].items()}


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - ENDING))
def test_a_service_that_stays_has_a_health_check(name: str) -> None:
    check = SERVICES[name]["healthcheck"]
    assert check["test"][0] in {"CMD", "CMD-SHELL"}
    assert check.keys() >= {"interval", "timeout", "retries", "start_period"}


@pytest.mark.parametrize("name", sorted(ENDING))
def test_a_service_that_ends_is_tried_again_when_it_failed_and_never_after_success(name: str) -> None:
    assert SERVICES[name]["restart"] == "on-failure"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_who_depends_waits_until_the_other_is_healthy_or_done(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        wanted = "service_completed_successfully" if other in ENDING else "service_healthy"
        assert how == {"condition": wanted}, f"{name} on {other}"


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_replica_waits_for_every_engine_that_its_settings_name(name: str) -> None:
    hosts = {urlsplit(value).hostname for variable, value in environment(name).items() if variable.endswith("_URL")}
    assert hosts <= SERVICES[name]["depends_on"].keys()
    assert "rocketmq-topics" in SERVICES[name]["depends_on"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_ports_are_published_on_loopback_alone_and_may_be_chosen(name: str) -> None:
    for port in SERVICES[name].get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\$\{\w+_PORT:-\d+\}:\d+", port), port


def test_no_port_is_published_twice() -> None:
    ports = [value for name, value in example().items() if name.endswith("_PORT")]
    assert len(ports) == len(set(ports)) == sum(len(each.get("ports", [])) for each in SERVICES.values())


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_engines_start_alone_and_services_only_with_all(name: str) -> None:
    assert SERVICES[name]["profiles"] == (["engines", "all"] if name in ENGINES else ["all"])


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_has_its_limits(name: str) -> None:
    assert SERVICES[name]["deploy"]["resources"]["limits"].keys() == {"cpus", "memory", "pids"}


def test_every_variable_is_in_the_example_with_the_same_default_and_none_is_idle() -> None:
    text = (DOCKER / "compose.yaml").read_text(encoding="utf-8")
    used = {match["name"]: match for match in VARIABLE.finditer(text)}
    assert used.keys() == example().keys()
    for name, match in used.items():
        assert example()[name] == (match["rest"] if match["kind"] == "-" else ""), name


def test_no_password_has_a_default() -> None:
    kinds = {
        match["name"]: match["kind"]
        for match in VARIABLE.finditer((DOCKER / "compose.yaml").read_text(encoding="utf-8"))
        if match["name"].endswith("PASSWORD")
    }
    assert set(kinds.values()) == {"?"}
    assert all(not example()[name] for name in kinds)


@pytest.mark.parametrize(("name", "settings_class"), OURS.items())
def test_the_settings_are_such_that_the_service_starts(
    name: str, settings_class: type[ServiceSettings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    for variable, value in environment(name).items():
        monkeypatch.setenv(variable, value)
    settings = read_settings(settings_class)
    assert settings.advertise == SERVICES[name]["hostname"] == name
    assert settings.listen.startswith("0.0.0.0:")


@pytest.mark.parametrize("cpus", [2, 3, 4, 8, 16])
@pytest.mark.parametrize("kind", ["inventory", "order"])
def test_unless_told_otherwise_the_two_replicas_of_a_service_run_on_different_cpus(kind: str, cpus: int) -> None:
    chosen = set()
    for number in (1, 2):
        replica = f"{kind}-{number}"
        settings = environment(replica)
        port = split_address(settings[f"{kind.upper()}_LISTEN"])[1]
        host = SERVICES[replica]["hostname"]
        chosen.add(choose_cpu(settings[f"{kind.upper()}_CPU"], host, port, list(range(cpus))))
    assert len(chosen) == 2


@pytest.mark.parametrize("name", sorted(OURS))
def test_the_health_check_asks_where_the_service_listens(name: str) -> None:
    (listen,) = (value for variable, value in environment(name).items() if variable.endswith("_LISTEN"))
    (port,) = (published.rpartition(":")[2] for published in SERVICES[name]["ports"])
    asked = SERVICES[name]["healthcheck"]["test"][-1]
    assert listen.rpartition(":")[2] == port == asked.rpartition(":")[2]


@pytest.mark.parametrize("name", sorted(OURS))
def test_a_replica_is_nobody_special(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert re.search(r"^USER 10001:10001$", (DOCKER / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)


def test_files_that_are_mounted_are_there() -> None:
    mounts = [volume for each in SERVICES.values() for volume in each.get("volumes", []) if volume.startswith("./")]
    assert mounts
    for mount in mounts:
        source, _, options = mount.split(":")
        assert (DOCKER / source).exists(), source
        assert options == "ro", mount


def test_volumes_that_are_used_are_declared() -> None:
    volumes = [volume for each in SERVICES.values() for volume in each.get("volumes", []) if not volume.startswith(".")]
    assert {volume.partition(":")[0] for volume in volumes} == COMPOSE["volumes"].keys()


def test_every_topic_is_made() -> None:
    script = (DOCKER / "rocketmq" / "make-topics").read_text(encoding="utf-8")
    made = set(re.findall(r'^make_topic "(\S+)" (\w+)', script, re.MULTILINE))
    assert made >= {(f"${{prefix}}{ORDER_REBACK}", "TRANSACTION"), (f"${{prefix}}{ORDER_TIMEOUT}", "DELAY")}
    group = f"{inventory_consumers.TOPIC}-{inventory_consumers.GROUP}"
    assert (f"%DLQ%${{prefix}}{group}", "NORMAL") in made


def test_the_broker_is_called_by_its_service() -> None:
    broker = dict(
        line.split(" = ") for line in (DOCKER / "rocketmq" / "broker.conf").read_text().splitlines() if " = " in line
    )
    assert broker["brokerIP1"] == SERVICES["rocketmq-broker"]["hostname"]
    assert broker["flushDiskType"] == "SYNC_FLUSH"
    assert broker["autoCreateTopicEnable"] == "false"


def test_every_replica_has_its_connections_with_room_for_others() -> None:
    configuration = (DOCKER / "mariadb" / "reback.cnf").read_text(encoding="utf-8")
    match = re.search(r"^max_connections = (\d+)$", configuration, re.MULTILINE)
    assert match
    threads = ServiceSettings.model_fields["threads"].default
    wanted = 2 * (threads + inventory_bootstrap._MORE_CONNECTIONS) + 2 * (threads + order_bootstrap._MORE_CONNECTIONS)
    assert int(match[1]) >= 1.5 * wanted


def test_releases_are_those_of_the_local_cluster() -> None:
    assert example()["ROCKETMQ_VERSION"] == ROCKETMQ_VERSION
    assert example()["CONSUL_VERSION"] == CONSUL_VERSION
