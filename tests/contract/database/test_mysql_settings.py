"""A server whose settings would break a promise is refused when a service starts; what costs speed is a warning."""

from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from common.errors import UnusableEngine
from tests.contract.database.harness import MysqlHarness
from tests.support.databases import ask
from tests.support.mariadb_server import MariadbServer, mariadb_server

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def server() -> Iterator[MariadbServer]:
    with mariadb_server("--log-bin", "--sync-binlog=1", "--server-id=1", "--binlog-format=ROW") as started:
        yield started


@pytest.fixture
def harness(server: MariadbServer) -> Iterator[MysqlHarness]:
    made = MysqlHarness(server.url)
    yield made
    made.end()


@pytest.mark.parametrize(
    ("name", "bad", "good", "told"),
    [
        ("innodb_flush_log_at_trx_commit", 2, 1, "innodb_flush_log_at_trx_commit = 2, but 1 is needed"),
        ("sync_binlog", 0, 1, "sync_binlog = 0, but 1 is needed"),
        ("binlog_format", "'STATEMENT'", "'ROW'", "binlog_format = STATEMENT, but ROW is needed"),
        ("check_constraint_checks", 0, 1, "check_constraint_checks = OFF, but ON is needed"),
        ("max_allowed_packet", 1 << 20, 16 << 20, "max_allowed_packet = 1048576, but 4194304 is the least"),
    ],
)
def test_a_setting_that_breaks_a_promise_is_told_with_its_value_what_is_needed_and_the_cure(
    harness: MysqlHarness, name: str, bad: object, good: object, told: str
) -> None:
    ask(harness.url, f"SET GLOBAL {name} = {bad}")
    try:
        with pytest.raises(UnusableEngine) as refused:
            harness.open()
    finally:
        ask(harness.url, f"SET GLOBAL {name} = {good}")

    (line,) = refused.value.lines
    assert refused.value.setting == "DATABASE_URL"
    assert told in line
    assert f"SET GLOBAL {name} = " in line
    assert "secret" not in line
    harness.open()


def test_what_costs_only_speed_is_a_warning(server: MariadbServer, harness: MysqlHarness) -> None:
    ask(server.url, "SET GLOBAL max_allowed_packet = 8388608")
    try:
        with capture_logs() as logged:
            harness.open(connections=5000)
    finally:
        ask(server.url, "SET GLOBAL max_allowed_packet = 16777216")

    warnings = [entry["event"] for entry in logged if entry["log_level"] == "warning"]
    assert len(warnings) == 2
    assert "max_allowed_packet = 8388608" in warnings[0]
    assert "max_connections = " in warnings[1]
    assert all(text.startswith("DATABASE_URL: the database server at 127.0.0.1:") for text in warnings)
