"""Versions and settings of database servers, without one."""

import pytest

from common.database.mysql.server_settings import setting_faults, setting_warnings, version_faults


@pytest.mark.parametrize(
    "version", ["10.6.0-MariaDB", "10.11.6-MariaDB-0+deb12u1", "11.4.2-MariaDB", "8.0.16", "8.4.0"]
)
def test_a_version_that_is_new_enough_is_fine(version: str) -> None:
    assert list(version_faults(version)) == []


@pytest.mark.parametrize("version", ["10.5.23-MariaDB", "5.5.5-MariaDB", "8.0.15", "5.7.44-log"])
def test_a_version_that_is_too_old_is_told(version: str) -> None:
    (fault,) = version_faults(version)
    assert str(fault).startswith(f"version {version}, but ")
    assert str(fault).endswith("; upgrade it")


def test_a_server_that_does_not_have_a_setting_is_fine() -> None:
    assert list(setting_faults({})) == []
    assert list(setting_warnings({}, 80)) == []


def test_all_faults_are_told() -> None:
    faults = list(setting_faults({"innodb_flush_log_at_trx_commit": "0", "log_bin": "ON", "sync_binlog": "0"}))
    assert [fault.setting for fault in faults] == ["innodb_flush_log_at_trx_commit = 0", "sync_binlog = 0"]


UNFLUSHED = {"innodb_flush_log_at_trx_commit": "2", "log_bin": "ON", "sync_binlog": "0"}


def test_on_a_galera_cluster_unflushed_commits_are_only_warned_of() -> None:
    server = {**UNFLUSHED, "wsrep_on": "ON", "wsrep_cluster_size": "2"}

    assert list(setting_faults(server)) == []
    warnings = list(setting_warnings(server, 80))
    assert [warning.setting for warning in warnings] == ["innodb_flush_log_at_trx_commit = 2", "sync_binlog = 0"]
    assert "all nodes of the Galera cluster" in str(warnings[0])


@pytest.mark.parametrize(
    "server",
    [
        {"wsrep_on": "OFF", "wsrep_cluster_size": "3"},
        {"wsrep_on": "ON", "wsrep_cluster_size": "1"},
        {"wsrep_on": "ON", "wsrep_cluster_size": "0"},
        {"wsrep_on": "ON"},
    ],
    ids=["off", "one node", "no provider", "unknown"],
)
def test_a_server_without_other_nodes_has_to_flush(server: dict[str, str]) -> None:
    assert len(list(setting_faults({**UNFLUSHED, **server}))) == 2


def test_on_a_galera_cluster_other_faults_stay() -> None:
    server = {"wsrep_on": "ON", "wsrep_cluster_size": "3", "check_constraint_checks": "OFF"}

    assert [fault.setting for fault in setting_faults(server)] == ["check_constraint_checks = OFF"]
    assert list(setting_warnings({"wsrep_on": "ON", "wsrep_cluster_size": "3"}, 80)) == []
