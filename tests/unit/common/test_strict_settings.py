"""Values that look like something and are something else: each is refused in one line that names its part."""

import os
from pathlib import Path

import pytest

from common.driver_url import file_url
from common.process.env_file import read_env_file
from common.process.settings import ServiceSettings, WrongSettings, load_settings, read_settings
from inventory_srv.settings import InventorySettings
from order_srv.settings import OrderSettings

TOO_MANY_DIGITS = "1" * 4301  # Python's own limit is 4,300


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings but those of the test, and an empty folder."""
    for name in os.environ:
        if name.upper().startswith(("ORDER_", "INVENTORY_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def wrong(settings_class: type[ServiceSettings]) -> str:
    with pytest.raises(WrongSettings) as error:
        read_settings(settings_class)
    (line,) = error.value.lines
    return line


@pytest.mark.parametrize(
    "value", ["1_000", " 5 ", "+5", "-5", "05", "1e3", "0x10", "٣", "5.0", "nan", "inf", "true", TOO_MANY_DIGITS]
)
def test_a_whole_number_is_plain_digits(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("ORDER_THREADS", value)
    assert wrong(OrderSettings).endswith(": must be a whole number from 1 to 1024")


@pytest.mark.parametrize(
    "value",
    ["1_000", " 5 ", "+5", "-5", "05", "1e3", "0x10", "٣", ".5", "5.", "0.0000001", "nan", "inf", TOO_MANY_DIGITS],
)
def test_a_number_of_seconds_is_a_plain_decimal(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("ORDER_SWEEP_GRACE", value)
    assert ": must be a number of seconds from 0 to ten years, such as 30 or 0.5" in wrong(OrderSettings)


@pytest.mark.parametrize("value", ["1", "t", "y", "true", "yes", "0", "off ", "2"])
def test_a_switch_is_on_or_off(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("ORDER_REFLECTION", value)
    assert wrong(OrderSettings) == f"ORDER_REFLECTION={value!r}: must be on or off"


@pytest.mark.parametrize("port", ["+80", "٨٠", "080", "8_0", " 80", "80 ", "70000", "1e2", ""])
@pytest.mark.parametrize("name", ["ORDER_LISTEN", "ORDER_ADVERTISE", "ORDER_METRICS_LISTEN"])
def test_a_port_is_plain_digits(monkeypatch: pytest.MonkeyPatch, name: str, port: str) -> None:
    monkeypatch.setenv(name, f"127.0.0.1:{port}")
    assert ": must be host:port" in wrong(OrderSettings)


@pytest.mark.parametrize(
    ("name", "value", "part"),
    [
        ("ORDER_DATABASE_URL", "sqlite:////tmp/shop#eu.db", "#"),
        ("ORDER_DATABASE_URL", "sqlite:////tmp/shop.db?mode=ro", "mode"),
        ("ORDER_DATABASE_URL", "sqlite:////tmp/shop.db?", "?"),
        ("ORDER_DATABASE_URL", "sqlite://host/shop.db", "host"),
        ("ORDER_DATABASE_URL", "sqlite:////tmp/50%.db", "%"),
        ("ORDER_DATABASE_URL", "sqlite:////tmp/a%00b.db", "control character"),
        ("ORDER_DATABASE_URL", "sqlite:////tmp/a\nb.db", "control character"),
        ("ORDER_DATABASE_URL", "sqlite:///:memory:", ":memory:"),
        ("ORDER_DATABASE_URL", "sqlite:///%3Amemory%3A", ":memory:"),
        ("ORDER_DATABASE_URL", "sqlite:////", "file"),
        ("ORDER_DATABASE_URL", "sqlite:////tmp/", "file"),
        ("ORDER_DATABASE_URL", "sqlite:///shop.db ", "blank"),
        ("ORDER_DATABASE_URL", "mysql://u@h:+80/db", "host:port"),
        ("ORDER_DATABASE_URL", "mysql://u@h:٨٠/db", "host:port"),
        ("ORDER_DATABASE_URL", "mysql://u@h/db#x", "#"),
        ("ORDER_DATABASE_URL", f"mysql://u@h/db?read_timeout={TOO_MANY_DIGITS}", "read_timeout"),
        ("ORDER_DATABASE_URL", "mysql://u@h/db?read_timeout=1_0", "read_timeout"),
        ("ORDER_BROKER_URL", "embedded:///b.db#x", "#"),
        ("ORDER_BROKER_URL", "embedded://user@host/b.db", "user"),
        ("ORDER_BROKER_URL", "embedded:///:memory:", ":memory:"),
        ("ORDER_BROKER_URL", "embedded:///b.db?lease=1_0", "lease"),
        ("ORDER_BROKER_URL", "embedded:///b.db?lease=1e1", "lease"),
        ("ORDER_BROKER_URL", "embedded:///b.db?lease= 10", "lease"),
        ("ORDER_BROKER_URL", "embedded:///b.db?lease=+10", "lease"),
        ("ORDER_BROKER_URL", "embedded:///b.db?lease=1&lease=1", "lease"),
        ("ORDER_BROKER_URL", f"embedded:///b.db?tries={TOO_MANY_DIGITS}", "tries"),
        ("ORDER_BROKER_URL", "rocketmq://host:8081/path", "path"),
        ("ORDER_BROKER_URL", "rocketmq://host:080", "host:port"),
        ("ORDER_BROKER_URL", "rocketmq://host:٨٠٨١", "host:port"),
        ("ORDER_BROKER_URL", "rocketmq://host:8081?tries=٣", "tries"),
        ("ORDER_BROKER_URL", "rocketmq-native://host:9876#x", "#"),
        ("ORDER_DISCOVERY_URL", "consul://host:08500", "host:port"),
        ("ORDER_DISCOVERY_URL", "consul://host:٨٥٠٠", "host:port"),
        ("ORDER_DISCOVERY_URL", "consul://host?interval=1_0", "interval"),
        ("ORDER_DISCOVERY_URL", "consul://host?interval=1e1", "interval"),
        ("ORDER_DISCOVERY_URL", "static://?inventory-srv=h:1#x", "#"),
        ("ORDER_DISCOVERY_URL", "static://?inventory-srv=h:01", "host:port"),
        ("ORDER_DISCOVERY_URL", "static://?inventory-srv=h:1&&", "name=value"),
        ("ORDER_DISCOVERY_URL", "static://host?inventory-srv=h:1", "host"),
        ("INVENTORY_LOCK_URL", "local://host", "host"),
        ("INVENTORY_LOCK_URL", "local:///path", "path"),
        ("INVENTORY_LOCK_URL", "local://?expiry=1", "expiry"),
        ("INVENTORY_LOCK_URL", "local://#x", "#"),
        ("INVENTORY_LOCK_URL", "redis://h/0#x", "#"),
        ("INVENTORY_LOCK_URL", "redis://h:06379/0", "host"),
        ("INVENTORY_LOCK_URL", "redis://h:٦/0", "host"),
        ("INVENTORY_LOCK_URL", f"redis://h/{TOO_MANY_DIGITS}", "database"),
        ("INVENTORY_LOCK_URL", "redis://h/0?expiry=1_5", "expiry"),
        ("INVENTORY_LOCK_URL", "redis://h/0?tls_ca=/etc/hosts", "tls_ca"),
        ("INVENTORY_CACHE_URL", "none://user@h", "user"),
        ("INVENTORY_CACHE_URL", "local://?entries=1_000", "entries"),
    ],
)
def test_no_part_of_a_url_is_passed_over(monkeypatch: pytest.MonkeyPatch, name: str, value: str, part: str) -> None:
    monkeypatch.setenv(name, value)
    line = wrong(OrderSettings if name.startswith("ORDER") else InventorySettings)
    assert line.startswith(f"{name}='")
    assert part in line.rpartition("': ")[2]
    assert "\n" not in line
    assert len(line) < 600


@pytest.mark.parametrize("file", ["shop#eu.db", "what?.db", "50%.db", "a b.db", "ü.db", "it's.db"])
@pytest.mark.parametrize("name", ["ORDER_DATABASE_URL", "ORDER_BROKER_URL"])
def test_a_path_written_with_percents_is_meant(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, file: str
) -> None:
    scheme = "sqlite" if "DATABASE" in name else "embedded"
    monkeypatch.setenv(name, file_url(scheme, tmp_path / file))
    settings = read_settings(OrderSettings)
    assert getattr(settings, name.removeprefix("ORDER_").lower()).path == tmp_path / file


@pytest.mark.parametrize(
    ("content", "cure"),
    [
        ("ORDER_THREADS=5\n".encode("utf-16"), "UTF-8"),
        ("ORDER_THREADS=5\n".encode("utf-16-be"), "UTF-8"),
        ("ORDER_THREADS=5\nORDER_TOPIC_PREFIX=caf\xe9\n".encode("latin-1"), "line 2"),
        (b"ORDER_THREADS=5\nORDER_TOPIC_PREFIX=a\0b\n", "line 2"),
        (b"# fine\nORDER_THREADS='5\n", "line 2"),
        (b"ORDER_THREADS=5\nORDER_QUEUE 7\n", "line 2"),
        (b"ORDER_THREADS\n", "line 1"),
        (b"\n\nORDER_THREADS: 5\n", "line 3"),
        (b"ORDER_THREADS=5\n# again\nORDER_THREADS=7\n", "line 3 gives ORDER_THREADS again"),
    ],
)
def test_a_broken_env_file_is_one_line_that_says_where_and_what_to_do(
    capsys: pytest.CaptureFixture[str], content: bytes, cure: str
) -> None:
    Path(".env").write_bytes(content)
    with pytest.raises(SystemExit) as end:
        load_settings(OrderSettings)
    assert end.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{Path.cwd() / '.env'}")
    assert cure in line


def test_a_broken_line_is_told_without_what_stands_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    Path(".env").write_text("ORDER_DATABASE_URL 'mysql://app:hunter2@db/order'\n", encoding="utf-8")
    with pytest.raises(SystemExit):
        load_settings(OrderSettings)
    assert "hunter2" not in capsys.readouterr().err


@pytest.mark.parametrize("value", ["'pa${HOME}ss'", "pa${HOME}ss", '"pa${HOME}ss"'])
def test_what_looks_like_a_variable_in_a_value_of_the_env_file_is_meant_as_it_stands(value: str) -> None:
    Path(".env").write_text(f"SECRET={value}\n", encoding="utf-8")
    assert read_env_file(Path(".env")) == {"SECRET": "pa${HOME}ss"}


def test_an_env_file_may_begin_with_a_byte_order_mark() -> None:
    Path(".env").write_bytes("ORDER_THREADS=5\n".encode("utf-8-sig"))
    assert read_settings(OrderSettings).threads == 5


def test_an_env_file_that_is_a_folder_or_points_to_nothing_is_told() -> None:
    Path(".env").mkdir()
    assert ".env: is a folder" in wrong(OrderSettings)
    Path(".env").rmdir()
    Path(".env").symlink_to("nowhere")
    assert ".env: points to" in wrong(OrderSettings)


def test_an_env_file_that_may_not_be_read_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    Path(".env").touch()
    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert ".env: can't be read (Permission denied)" in wrong(OrderSettings)
