"""A Redis in which locks would not hold is refused when a service starts; one that is down is not."""

from contextlib import closing
from pathlib import Path

import pytest

from common.errors import UnusableEngine
from common.lock.drivers import open_lock
from common.redis.server_settings import lock_faults
from tests.support.ports import free_port
from tests.support.redis_server import redis_server


def test_a_redis_that_may_evict_locks_is_refused_and_one_without_a_limit_is_fine(tmp_path: Path) -> None:
    with redis_server(tmp_path, "maxmemory 100mb", "maxmemory-policy volatile-ttl") as server:
        with closing(open_lock(server.url)) as lock, pytest.raises(UnusableEngine) as refused:
            lock.check_engine()
        assert refused.value.setting == "LOCK_URL"
        (line,) = refused.value.lines
        assert line.startswith(
            f"the Redis at 127.0.0.1:{server.port} has maxmemory-policy = volatile-ttl, but noeviction"
        )
        assert "CONFIG SET maxmemory-policy noeviction" in line

        server.client.config_set("maxmemory", "0")
        with closing(open_lock(server.url)) as lock:
            lock.check_engine()


def test_a_replica_is_refused(tmp_path: Path) -> None:
    with (
        redis_server(tmp_path, f"replicaof 127.0.0.1 {free_port()}") as server,
        closing(open_lock(server.url)) as lock,
        pytest.raises(UnusableEngine, match="is a replica, but a master"),
    ):
        lock.check_engine()


def test_a_member_of_a_cluster_is_refused(tmp_path: Path) -> None:
    with (
        redis_server(tmp_path, "cluster-enabled yes") as server,
        closing(open_lock(server.url)) as lock,
        pytest.raises(UnusableEngine, match="Redis Cluster"),
    ):
        lock.check_engine()


def test_a_redis_that_is_down_is_not_checked() -> None:
    with closing(open_lock(f"redis://127.0.0.1:{free_port()}/0")) as lock:
        lock.check_engine()


@pytest.mark.parametrize(("version", "faults"), [("4.0.14", 1), ("5.0.0", 0), ("7.0.15", 0), ("8.2", 0)])
def test_a_redis_that_is_too_old_for_the_scripts_is_refused(version: str, faults: int) -> None:
    assert len(list(lock_faults({"redis_version": version}, by_sentinel=False))) == faults
