"""The server's settings that the driver relies on, checked when a service starts.

What a session may set for itself (`sql_mode`, isolation, time zone, timeouts) the driver sets, and needs no check.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

import structlog

from common.database.mysql.pool import MysqlPool
from common.database.mysql.url import MysqlUrl
from common.database.port import SETTING
from common.errors import UnusableEngine
from common.plain_numbers import whole_number_or

log = structlog.get_logger(__name__)

_MIB: Final = 1 << 20
_LEAST_PACKET: Final = 4 * _MIB
"""The largest request, whose rows travel in one packet."""
_GOOD_PACKET: Final = 16 * _MIB
"""A batch of many such changes is sent in one packet, or else each of them alone."""

_OLDEST: Final = {"MariaDB": (10, 6, 0), "MySQL": (8, 0, 16)}
"""CHECK is enforced, and there is a collation that compares text character by character, blanks at the end included."""

_VARIABLES: Final = (
    "innodb_flush_log_at_trx_commit",
    "log_bin",
    "sync_binlog",
    "binlog_format",
    "check_constraint_checks",
    "max_allowed_packet",
    "max_connections",
    "wsrep_on",
)
_STATUS: Final = "wsrep_cluster_size"
_LEAST_CLUSTER: Final = 2


class Fault(NamedTuple):
    """One setting that is not as it should be.

    Attributes:
        setting: Its name and value on the server.
        needed: What is needed instead, and why.
        cure: What to do.
    """

    setting: str
    needed: str
    cure: str

    def __str__(self) -> str:
        return f"{self.setting}, but {self.needed}; {self.cure}"


def check_settings(engine: MysqlPool, url: MysqlUrl) -> None:
    """Refuse a server that would break a promise, and warn of one that could be safer or faster.

    Raises:
        UnusableEngine: One line for each fault.
    """
    (version,) = engine.execute_sql("SELECT VERSION()").fetchone()
    marks = ", ".join(["%s"] * len(_VARIABLES))
    rows = engine.execute_sql(f"SHOW GLOBAL VARIABLES WHERE Variable_name IN ({marks})", _VARIABLES)
    status = engine.execute_sql(f"SHOW GLOBAL STATUS LIKE '{_STATUS}'")
    variables = {str(name): str(value) for name, value in [*rows, *status]}
    if faults := [*version_faults(str(version)), *setting_faults(variables)]:
        raise UnusableEngine(SETTING, [f"the database server at {url.place} has {fault}" for fault in faults])
    for warning in setting_warnings(variables, engine._max_connections or 0):  # noqa: SLF001 - where playhouse keeps it
        text = f"{SETTING}: the database server at {url.place} has {warning}"
        log.warning(text)


def version_faults(version: str) -> Iterator[Fault]:
    """Whether the server is too old."""
    kind = "MariaDB" if "mariadb" in version.lower() else "MySQL"
    numbers = tuple(map(int, re.findall(r"\d+", version)[:3]))
    oldest = _OLDEST[kind]
    if numbers < oldest:
        needed = f"{kind} {'.'.join(map(str, oldest))} is needed: older ones lack a check or a collation of the tables"
        yield Fault(f"version {version}", needed, "upgrade it")


def setting_faults(variables: Mapping[str, str]) -> Iterator[Fault]:
    """Settings that break a promise; one that the server does not have is as it should be."""
    if not _is_replicated(variables):
        yield from _unflushed(variables, "is needed: a commit has to survive a power cut")
    if _logs(variables) and variables.get("binlog_format", "ROW") == "STATEMENT":
        yield _set("binlog_format", "STATEMENT", "ROW", "is needed: READ COMMITTED can't be logged as statements")
    if variables.get("check_constraint_checks", "ON") in ("OFF", "0"):
        yield _set("check_constraint_checks", "OFF", "ON", "is needed: the tables' CHECKs keep quantities above zero")
    packet = int(variables.get("max_allowed_packet", _GOOD_PACKET))
    if packet < _LEAST_PACKET:
        yield _set("max_allowed_packet", packet, _LEAST_PACKET, "is the least: a request's rows travel in one packet")


def setting_warnings(variables: Mapping[str, str], pool: int) -> Iterator[Fault]:
    """Settings that cost speed, or that are safe only while other nodes of the cluster run.

    Args:
        variables: The server's.
        pool: How many connections this process may open.
    """
    if _is_replicated(variables):
        yield from _unflushed(variables, "is safer: commits are lost when all nodes of the Galera cluster lose power")
    packet = int(variables.get("max_allowed_packet", _GOOD_PACKET))
    if packet < _GOOD_PACKET:
        yield _set("max_allowed_packet", packet, _GOOD_PACKET, "lets a whole batch travel in one packet")
    connections = int(variables.get("max_connections", pool))
    if connections < pool:
        yield _set("max_connections", connections, pool, "is what this service alone may open under load")


def _is_replicated(variables: Mapping[str, str]) -> bool:
    """Whether another node of a Galera cluster receives each commit before it is confirmed."""
    nodes = whole_number_or(variables.get(_STATUS, ""), 0)
    return variables.get("wsrep_on", "OFF") in ("ON", "1") and nodes >= _LEAST_CLUSTER


def _logs(variables: Mapping[str, str]) -> bool:
    return variables.get("log_bin", "OFF") in ("ON", "1")


def _unflushed(variables: Mapping[str, str], why: str) -> Iterator[Fault]:
    """Settings that leave a commit in this server's memory for a while."""
    flush = variables.get("innodb_flush_log_at_trx_commit", "1")
    if flush not in ("1", "3"):
        yield _set("innodb_flush_log_at_trx_commit", flush, "1", why)
    sync = variables.get("sync_binlog", "1")
    if _logs(variables) and sync != "1":
        yield _set("sync_binlog", sync, "1", why)


def _set(name: str, value: object, needed: object, why: str) -> Fault:
    return Fault(f"{name} = {value}", f"{needed} {why}", f"SET GLOBAL {name} = {needed}, and in its configuration file")
