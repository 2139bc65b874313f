import os
from datetime import timedelta
from pathlib import Path

import pytest

from common.process.settings import ServiceSettings, WrongSettings, load_settings, read_settings
from inventory_srv.settings import InventorySettings
from order_srv.settings import OrderSettings


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings but those of the test, and an empty folder."""
    for name in os.environ:
        if name.upper().startswith(("ORDER_", "INVENTORY_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def wrong(settings_class: type[ServiceSettings]) -> list[str]:
    with pytest.raises(WrongSettings) as error:
        read_settings(settings_class)
    return error.value.lines


def test_the_defaults_are_those_of_one_machine() -> None:
    inventory, order = read_settings(InventorySettings), read_settings(OrderSettings)
    assert inventory.model_dump() == {
        "listen": "127.0.0.1:50052",
        "advertise": "",
        "database_url": "sqlite:///.run/inventory.db",
        "broker_url": "embedded:///.run/broker.db",
        "discovery_url": "static://",
        "lock_url": "local://",
        "lock_outage": "database",
        "cache_url": None,
        "metrics_listen": "",
        "threads": 64,
        "cpu": "auto",
        "queue": 4096,
        "batch": 256,
        "reflection": True,
        "topic_prefix": "",
        "crash_at": "",
        "log_level": "info",
        "log_format": "auto",
    }
    assert order.model_dump(include={"listen", "database_url", "broker_url", "discovery_url"}) == {
        "listen": "127.0.0.1:50051",
        "database_url": "sqlite:///.run/order.db",
        "broker_url": "embedded:///.run/broker.db",
        "discovery_url": "static://?inventory-srv=127.0.0.1:50052",
    }
    assert order.pay_within == timedelta(minutes=30)
    assert order.creating_grace == timedelta(seconds=60)
    assert order.sweep_every == order.sweep_grace == order.return_after == timedelta(seconds=30)


def test_the_environment_overrules_the_file_and_the_file_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    Path(".env").write_text("ORDER_THREADS=5\nORDER_TOPIC_PREFIX=file\nINVENTORY_THREADS=7\n", encoding="utf-8")
    monkeypatch.setenv("ORDER_THREADS", "6")
    settings = read_settings(OrderSettings)
    assert (settings.threads, settings.topic_prefix) == (6, "file")
    assert read_settings(InventorySettings).threads == 7


@pytest.mark.parametrize(("value", "seconds"), [("1800", 1800), ("0.5", 0.5), ("3", 3), ("0.000001", 0.000001)])
def test_times_are_plain_seconds(monkeypatch: pytest.MonkeyPatch, value: str, seconds: float) -> None:
    monkeypatch.setenv("ORDER_PAY_WITHIN", value)
    assert read_settings(OrderSettings).pay_within == timedelta(seconds=seconds)


@pytest.mark.parametrize(("value", "cpu"), [("auto", "auto"), ("ANY", "any"), ("5", "5")])
def test_a_service_may_be_told_its_cpu(monkeypatch: pytest.MonkeyPatch, value: str, cpu: str) -> None:
    monkeypatch.setattr("common.process.cpu_affinity.allowed_cpus", lambda: [2, 5])
    monkeypatch.setenv("ORDER_CPU", value)
    assert read_settings(OrderSettings).cpu == cpu


def test_who_names_a_cpu_that_it_may_not_use_is_told_which_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("common.process.cpu_affinity.allowed_cpus", lambda: [2, 5])
    monkeypatch.setenv("INVENTORY_CPU", "3")
    (line,) = wrong(InventorySettings)
    assert line == (
        "INVENTORY_CPU='3': must be auto (one that it picks), any (the system's choice) or the number of a CPU;"
        " this process may run on CPU 2, 5"
    )


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDER_THREADS", "")
    assert read_settings(OrderSettings).threads == 64


def test_waits_may_be_nothing_where_that_makes_sense(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ORDER_SWEEP_GRACE", "ORDER_RETURN_AFTER"):
        monkeypatch.setenv(name, "0")
    settings = read_settings(OrderSettings)
    assert settings.sweep_grace == settings.return_after == timedelta(0)


def test_the_longest_create_follows_the_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDER_CREATING_GRACE", "3")
    assert read_settings(OrderSettings).longest_create == timedelta(seconds=1.5)


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("ORDER_PAY_WITHIN", "abc", "a number of seconds above 0"),
        ("ORDER_PAY_WITHIN", "0", "a number of seconds above 0"),
        ("ORDER_PAY_WITHIN", "-1", "a number of seconds above 0"),
        ("ORDER_PAY_WITHIN", "nan", "a number of seconds above 0"),
        ("ORDER_PAY_WITHIN", "inf", "a number of seconds above 0"),
        ("ORDER_PAY_WITHIN", "1e300", "up to ten years"),
        ("ORDER_SWEEP_GRACE", "-0.1", "a number of seconds from 0"),
        ("ORDER_SWEEP_EVERY", "0", "a number of seconds above 0"),
        ("ORDER_CREATING_GRACE", "0", "a number of seconds above 0"),
        ("ORDER_THREADS", "0", "a whole number from 1 to 1024"),
        ("ORDER_THREADS", "1.5", "a whole number from 1 to 1024"),
        ("ORDER_CPU", "all", "auto (one that it picks), any (the system's choice) or the number of a CPU"),
        ("ORDER_CPU", "-1", "the number of a CPU"),
        ("ORDER_CPU", "0.5", "the number of a CPU"),
        ("ORDER_CPU", "1000000", "the number of a CPU"),
        ("ORDER_REFLECTION", "maybe", "on or off"),
        ("ORDER_TOPIC_PREFIX", "a b", "up to 64 of A-Z"),
        ("ORDER_LOG_LEVEL", "loud", "debug, info, warning or error"),
        ("ORDER_LOG_FORMAT", "xml", "auto, json or pretty"),
        ("ORDER_LISTEN", "localhost", "host:port"),
        ("ORDER_LISTEN", "localhost:70000", "host:port"),
        ("ORDER_DATABASE_URL", "mysql://host/db", "names no user; expected mysql://user:password@host"),
        ("ORDER_DATABASE_URL", "sqlite://", "names no file; expected sqlite:///relative.db"),
        ("ORDER_DATABASE_URL", "orders.db", "must be a URL that begins with sqlite:// or mysql://"),
        ("ORDER_BROKER_URL", "kafka://host:9092", "begins with embedded://, rocketmq:// or rocketmq-native://"),
        ("ORDER_BROKER_URL", "rocketmq://host:8081?lease=1", "lease must be a number of seconds from 10"),
        ("ORDER_DISCOVERY_URL", "zoo://host:8500", "begins with static://, consul:// or consul+https://"),
        ("ORDER_ADVERTISE", "host:0", "host:port or a host"),
        ("ORDER_ADVERTISE", "a b", "host:port or a host"),
        ("ORDER_DISCOVERY_URL", "static://?inventory-srv=nowhere", "inventory-srv must be host:port"),
        ("ORDER_DISCOVERY_URL", "static://?order-srv=127.0.0.1:1", "must name inventory-srv"),
    ],
)
def test_a_wrong_value_is_one_line_with_variable_value_and_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, allowed: str
) -> None:
    monkeypatch.setenv(name, value)
    (line,) = wrong(OrderSettings)
    assert line.startswith(f"{name}={value!r}: ")
    assert allowed in line.rpartition("': ")[2]
    assert "\n" not in line


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("LOCK_URL", "zoo://h/0"),
        ("LOCK_URL", "redis://h/tea"),
        ("LOCK_OUTAGE", "ignore"),
        ("CACHE_URL", "zoo://h/0"),
        ("CACHE_URL", "redis://h/tea"),
        ("CACHE_URL", "local://host"),
        ("CACHE_URL", "local://?entries=0"),
        ("CACHE_URL", "local://?expiry=0"),
        ("METRICS_LISTEN", "here"),
        ("QUEUE", "0"),
        ("BATCH", "x"),
    ],
)
def test_inventory_checks_what_only_it_has(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"INVENTORY_{name}", value)
    (line,) = wrong(InventorySettings)
    assert line.startswith(f"INVENTORY_{name}={value!r}: ")


@pytest.mark.parametrize("name", ["ORDER_ADVERTISE", "INVENTORY_ADVERTISE"])
@pytest.mark.parametrize("value", ["10.0.0.5", "10.0.0.5:1234", "inventory-1", "[::1]:5"])
def test_a_service_may_be_told_what_others_call(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    settings = OrderSettings if name.startswith("ORDER") else InventorySettings
    assert read_settings(settings).advertise == value


def test_a_registry_that_is_asked_needs_no_addresses_in_its_url(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDER_DISCOVERY_URL", "consul://abc@host:8500?dc=eu")
    assert read_settings(OrderSettings).discovery_url.reveal() == "consul://abc@host:8500?dc=eu"


def test_every_wrong_variable_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDER_THREADS", "none")
    monkeypatch.setenv("ORDER_LISTEN", "here")
    monkeypatch.setenv("ORDER_PAYWITHIN", "3")
    assert [line.replace(":", "=").partition("=")[0] for line in wrong(OrderSettings)] == [
        "ORDER_LISTEN",
        "ORDER_THREADS",
        "ORDER_PAYWITHIN",
    ]


def test_a_slip_in_a_name_is_noticed_in_the_environment_and_in_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDER_PAYWITHIN", "3")
    Path(".env").write_text("order_sweeep_every=3\nINVENTORY_NONSENSE=1\n", encoding="utf-8")
    assert wrong(OrderSettings) == [
        "ORDER_PAYWITHIN: no such setting; did you mean ORDER_PAY_WITHIN?",
        "order_sweeep_every: no such setting; did you mean ORDER_SWEEP_EVERY?",
    ]


def test_what_is_like_nothing_gets_the_whole_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INVENTORY_XYZZY", "3")
    (line,) = wrong(InventorySettings)
    assert line.startswith("INVENTORY_XYZZY: no such setting; there are INVENTORY_LISTEN, ")
    assert "INVENTORY_BATCH" in line


@pytest.mark.parametrize(
    "name",
    [
        "ORDER_SRV_SERVICE_HOST",
        "ORDER_SERVICE_PORT",
        "ORDER_SERVICE_PORT_GRPC",
        "ORDER_PORT",
        "ORDER_PORT_50051_TCP_ADDR",
    ],
)
def test_what_kubernetes_sets_is_no_slip(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "tcp://10.0.0.1:50051")
    read_settings(OrderSettings)


def test_a_wrong_setting_ends_the_program_with_2_and_says_so_on_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ORDER_DATABASE_URL", "mysql://app:hunter2@db")
    with pytest.raises(SystemExit) as end:
        load_settings(OrderSettings)
    assert end.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "ORDER_DATABASE_URL='mysql://***@db': names no database of up to 64 characters after the host;"
        " expected mysql://user:password@host:3306/name\n"
    )


@pytest.mark.parametrize("scheme", ["rocketmq", "rocketmq-native"])
def test_what_is_wrong_with_a_url_is_told_whole_though_its_password_is_masked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], scheme: str
) -> None:
    monkeypatch.setenv("ORDER_BROKER_URL", f"{scheme}://app:hunter2@host:8081")
    with pytest.raises(SystemExit):
        load_settings(OrderSettings)
    err = capsys.readouterr().err
    assert f"has a user, which {scheme}:// does not take; expected {scheme}://" in err
    assert "hunter2" not in err


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("ORDER_BROKER_URL", "embedded:///b.db?leese=1", "embedded:///b.db?leese=***"),
        ("ORDER_DATABASE_URL", "mysql://app:hunter2@host/db?tls=maybe", "mysql://***@host/db?tls=maybe"),
        ("ORDER_DATABASE_URL", "postgresql://app:hunter2@host/db", "postgresql://***@host/db"),
        ("ORDER_LISTEN", "mysql://app:hunter2@host/db", "mysql://***@host/db"),
    ],
)
def test_what_may_be_a_secret_is_masked_in_the_value_that_is_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, shown: str
) -> None:
    monkeypatch.setenv(name, value)
    (line,) = wrong(OrderSettings)
    assert line.startswith(f"{name}={shown!r}: ")
    assert "hunter2" not in line


def test_settings_print_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDER_DATABASE_URL", "mysql://app:hunter2@host/db")
    settings = read_settings(OrderSettings)
    assert "hunter2" not in f"{settings} {settings!r} {settings.model_dump()} {settings.model_dump_json()}"


def test_no_traceback_of_wrong_settings_has_a_secret() -> None:
    with pytest.raises(ValueError) as error:
        OrderSettings.model_validate({"database_url": "mysql://app:hunter2@host/db?x=1"})
    assert "hunter2" not in str(error.value)
