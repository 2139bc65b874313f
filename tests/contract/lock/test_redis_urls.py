"""The other ways to a Redis: by Sentinels that name a new master, and by TLS."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from common.deadline import Deadline
from common.lock.drivers import open_lock
from common.lock.port import Lock, LockUnavailable
from tests.support.certificates import Authority
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer, redis_server
from tests.support.waiting import TIMEOUT_S, wait_until


def is_guarded(lock: Lock) -> bool:
    """Whether a key can be held."""
    try:
        with lock.holding(["tea"], Deadline.after(TIMEOUT_S)):
            return True
    except LockUnavailable:
        return False


@contextmanager
def opened(url: str) -> Iterator[Lock]:
    lock = open_lock(url)
    try:
        yield lock
    finally:
        lock.close()


def test_after_a_failover_the_lock_is_kept_in_the_new_master(tmp_path: Path) -> None:
    with ExitStack() as servers:
        master = servers.enter_context(redis_server(tmp_path, "requirepass pw", "masterauth pw", password="pw"))
        follows = f"replicaof 127.0.0.1 {master.port}"
        replica = servers.enter_context(
            redis_server(tmp_path, "requirepass pw", "masterauth pw", follows, password="pw")
        )
        sentinel = RedisServer(
            tmp_path,
            f"sentinel monitor stock-lock 127.0.0.1 {master.port} 1",
            "sentinel auth-pass stock-lock pw",
            "sentinel down-after-milliseconds stock-lock 2000",  # less, and a busy machine fails over by itself
            "sentinel failover-timeout stock-lock 3000",
            program="redis-sentinel",
        )
        servers.callback(sentinel.close)
        sentinel.start()
        wait_until(lambda: replica.client.info("replication")["master_link_status"] == "up", "the replica follows")
        wait_until(lambda: len(sentinel.client.sentinel_slaves("stock-lock")) == 1, "the Sentinel knows the replica")

        url = f"redis+sentinel://:pw@127.0.0.1:{free_port()},127.0.0.1:{sentinel.port}/stock-lock/0"
        with opened(url) as lock:  # the first of its Sentinels is not there
            wait_until(lambda: is_guarded(lock), "the Sentinel names the master")
            with lock.holding(["tea"], Deadline.after(TIMEOUT_S)):
                assert master.client.exists("tea")
            master.kill()
            wait_until(lambda: replica.client.info("replication")["role"] == "master", "the Sentinel makes it master")
            wait_until(lambda: is_guarded(lock), "the lock is kept in the new master", timeout_s=5)
            with lock.holding(["tea"], Deadline.after(TIMEOUT_S)):
                assert replica.client.exists("tea")


def test_tls_is_spoken_with_who_shows_a_certificate_of_the_authority(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue()
    tls_port = free_port()
    with redis_server(
        tmp_path,
        f"tls-port {tls_port}",
        f'tls-cert-file "{certificate}"',
        f'tls-key-file "{key}"',
        f'tls-ca-cert-file "{authority.certificate}"',
        "tls-auth-clients no",
    ):
        with opened(f"rediss://127.0.0.1:{tls_port}/0?tls_ca={authority.certificate}") as lock:
            assert is_guarded(lock)
        with opened(f"rediss://127.0.0.1:{tls_port}/0") as lock:
            assert not is_guarded(lock)
