"""The settings of a Redis that its locks rely on, checked when a service starts."""

import re
from collections.abc import Iterator, Mapping
from typing import Final

import structlog
from redis.exceptions import RedisError

from common.errors import UnusableEngine
from common.redis.pool import RedisPool, command
from common.redis.url import RedisUrl

log = structlog.get_logger(__name__)

_OLDEST: Final = (5, 0, 0)
_SECTIONS: Final = ("server", "memory", "replication", "cluster")


def check_for_locks(pool: RedisPool, url: RedisUrl, setting: str) -> None:
    """Refuse a Redis in which locks would not hold; one that can't be asked now is not checked.

    Args:
        pool: Connects to it.
        url: Where it is.
        setting: The setting that names it, without its prefix.

    Raises:
        UnusableEngine: One line for each fault.
    """
    try:
        info = _info(pool)
    except (RedisError, OSError) as error:
        log.debug("the settings of Redis could not be checked", error=f"{type(error).__name__}: {error}")
        return
    host, port = url.hosts[0]
    place = f"the Redis at {host}:{port}" if url.service is None else f"the Redis that Sentinels name {url.service!r}"
    if faults := list(lock_faults(info, by_sentinel=url.service is not None)):
        raise UnusableEngine(setting, [f"{place} {fault}" for fault in faults])


def lock_faults(info: Mapping[str, str], *, by_sentinel: bool) -> Iterator[str]:
    """What is wrong with a Redis for locks, and the cure.

    Args:
        info: What INFO says.
        by_sentinel: Whether Sentinels name the master: one that is a replica now is being replaced.
    """
    version = info.get("redis_version", "")
    numbers = tuple(map(int, re.findall(r"\d+", version)[:3]))
    if numbers and numbers < _OLDEST:
        yield f"has version {version}, but {'.'.join(map(str, _OLDEST))} is needed by the lock's scripts; upgrade it"
    policy = info.get("maxmemory_policy", "noeviction")
    if info.get("maxmemory", "0") != "0" and policy != "noeviction":
        yield (
            f"has maxmemory-policy = {policy}, but noeviction is needed: an evicted lock has two holders;"
            " CONFIG SET maxmemory-policy noeviction, or keep the cache in another Redis"
        )
    if info.get("role") == "slave" and not by_sentinel:
        yield "is a replica, but a master is needed: a replica takes no writes; name its master, or its Sentinels"
    if info.get("cluster_enabled") == "1":
        yield "is part of a Redis Cluster, but a single Redis is needed: a lock takes many keys at once; name one"


def _info(pool: RedisPool) -> Mapping[str, str]:
    """What INFO says, by name."""
    connection = pool.connect()
    try:
        text = b"\n".join(command(connection, "INFO", section) for section in _SECTIONS).decode()
    finally:
        connection.disconnect()
    return dict(line.strip().split(":", 1) for line in text.splitlines() if ":" in line and not line.startswith("#"))
