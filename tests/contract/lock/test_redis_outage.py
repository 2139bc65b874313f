"""Redis killed, empty, hung, full, out of reach: what holders, waiters and callers are told, and when it ends."""

import logging
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event

import pytest
from prometheus_client import REGISTRY

from common.deadline import Deadline
from common.lock.drivers import open_lock
from common.lock.port import Lock, LockLost, LockUnavailable
from common.process.logs import set_up_logs
from tests.support.ports import free_port
from tests.support.redis_server import RedisServer, redis_server
from tests.support.waiting import TIMEOUT_S, wait_until

QUICK = 1.0  # for what takes milliseconds on a machine that is not busy
BACK_WITHIN = 5.0


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as started:
        yield started


@contextmanager
def opened(url: str) -> Iterator[Lock]:
    lock = open_lock(url)
    try:
        yield lock
    finally:
        lock.close()


def soon() -> Deadline:
    return Deadline.after(TIMEOUT_S)


def is_guarded(lock: Lock, key: str = "tea") -> bool:
    """Whether a key can be held, and is not lost meanwhile."""
    try:
        with lock.holding([key], soon()) as held:
            return not held.lost
    except LockUnavailable:
        return False


def counted(name: str) -> float:
    return REGISTRY.get_sample_value(name) or 0.0


def assert_back_in_time(lock: Lock) -> None:
    wait_until(lambda: is_guarded(lock), "the lock is kept in Redis again", timeout_s=BACK_WITHIN)


def test_while_redis_is_down_every_caller_is_told_at_once_and_it_is_used_again_when_it_is_back(
    server: RedisServer,
) -> None:
    outages = counted("reback_lock_outages_total")
    with opened(server.url) as lock:
        assert is_guarded(lock)
        server.kill()
        began = time.monotonic()
        for _ in range(100):
            with pytest.raises(LockUnavailable) as refused:
                lock.acquire(["tea"], soon())
            assert refused.value.reason == "LOCK_UNAVAILABLE"
        assert time.monotonic() - began < QUICK
        server.start()
        assert_back_in_time(lock)
    assert counted("reback_lock_outages_total") == outages + 1


def test_a_redis_that_is_not_there_at_the_start_is_used_when_it_comes(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    try:
        with opened(server.url) as lock:
            assert not is_guarded(lock)
            server.start()
            assert_back_in_time(lock)
    finally:
        server.close()


def test_a_warning_tells_of_an_outage_once_and_of_no_password(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    set_up_logs("inventory", "debug", "json")
    try:
        with redis_server(tmp_path, "requirepass hunter2", password="hunter2") as server:
            for password in ("hunter2", "wrong-hunter3"):
                with opened(f"redis://:{password}@127.0.0.1:{server.port}/0") as lock:
                    assert is_guarded(lock) is (password == "hunter2")
            with opened(f"redis://:hunter2@127.0.0.1:{server.port}/0") as lock:
                assert is_guarded(lock)
                server.kill()
                for _ in range(50):
                    is_guarded(lock)
    finally:
        for handler in root.handlers[:]:
            root.removeHandler(handler)
        for handler in handlers:
            root.addHandler(handler)
        root.setLevel(level)
    logged = capsys.readouterr().err
    assert logged.count('"warning"') == 2  # the wrong password, and the kill
    assert logged.count("Redis is down: its locks can't be acquired") == 2
    assert "hunter" not in logged


class Held:
    """A holder on a thread of its own."""

    def __init__(self, pool: ThreadPoolExecutor, lock: Lock) -> None:
        self.has_it = Event()
        self.let_go = Event()
        self.outcome: Future[bool] = pool.submit(self._run, lock)

    def _run(self, lock: Lock) -> bool:
        with lock.holding(["tea"], soon()) as held:
            self.has_it.set()
            assert self.let_go.wait(TIMEOUT_S)
            return not held.lost

    def end(self) -> bool:
        """Let go; whether it was guarded until then."""
        self.let_go.set()
        return self.outcome.result(TIMEOUT_S)


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(8) as pool:
        yield pool


def test_a_holder_is_told_when_redis_forgot_everything_and_nobody_else_is_harmed(
    server: RedisServer, pool: ThreadPoolExecutor
) -> None:
    with opened(server.url) as lock, opened(server.url) as other:
        holder = Held(pool, lock)
        assert holder.has_it.wait(TIMEOUT_S)
        server.client.flushall()
        with other.holding(["tea"], soon()) as held:
            with pytest.raises(LockLost):
                holder.end()
            assert not held.lost
            assert server.client.exists("tea")


def test_who_waits_while_redis_forgets_everything_gets_the_lock_within_a_second(
    server: RedisServer, pool: ThreadPoolExecutor
) -> None:
    with opened(server.url) as lock, opened(server.url) as other:
        holder = Held(pool, lock)
        assert holder.has_it.wait(TIMEOUT_S)
        waiter = Held(pool, other)
        wait_until(lambda: server.client.exists("lock-queue:tea") == 1, "it is in the queue")
        flushed = time.monotonic()
        server.client.flushall()
        assert waiter.has_it.wait(TIMEOUT_S)
        assert time.monotonic() - flushed < 1 + QUICK
        assert waiter.end()
        with pytest.raises(LockLost):
            holder.end()


def test_holder_and_waiter_are_told_when_redis_is_killed_and_comes_back_empty(
    server: RedisServer, pool: ThreadPoolExecutor
) -> None:
    lost = counted("reback_lock_lost_total")
    with opened(server.url) as lock, opened(server.url) as other:
        holder = Held(pool, lock)
        assert holder.has_it.wait(TIMEOUT_S)
        waiter = Held(pool, other)
        wait_until(lambda: server.client.exists("lock-queue:tea") == 1, "it is in the queue")
        killed = time.monotonic()
        server.kill()
        with pytest.raises(LockUnavailable):
            waiter.outcome.result(TIMEOUT_S)
        assert time.monotonic() - killed < QUICK
        server.start()
        assert_back_in_time(other)
        with pytest.raises(LockLost):
            holder.end()
        assert counted("reback_lock_lost_total") == lost + 1
        assert_back_in_time(lock)


def test_a_holder_that_redis_did_not_hear_of_for_the_whole_expiry_is_told(
    server: RedisServer, pool: ThreadPoolExecutor
) -> None:
    with opened(f"{server.url}?expiry=1") as lock, ExitStack() as leaving:
        held = leaving.enter_context(lock.holding(["tea"], soon()))
        server.kill()
        wait_until(lambda: held.lost, "its time ran out")
        with pytest.raises(LockLost):
            leaving.close()


def test_pitfall_04_a_redis_that_hangs_delays_one_call_and_keeps_no_key_afterwards(server: RedisServer) -> None:
    with opened(server.url) as lock, opened(server.url) as other:
        assert is_guarded(lock)
        assert is_guarded(other)
        server.pause()
        began = time.monotonic()
        assert not is_guarded(lock)  # Redis has its command now, and will carry it out when it goes on
        assert time.monotonic() - began < 1 + QUICK
        began = time.monotonic()
        for _ in range(100):
            assert not is_guarded(lock)
        assert time.monotonic() - began < QUICK
        server.resume()
        assert_back_in_time(lock)
        assert_back_in_time(other)  # well before what was acquired for nobody expires


def test_a_redis_that_takes_no_writes_counts_as_down_until_it_does(server: RedisServer) -> None:
    with opened(server.url) as lock:
        assert is_guarded(lock)
        server.client.replicaof("127.0.0.1", str(free_port()))  # as after a failover: no longer the master
        assert not is_guarded(lock)
        server.client.replicaof("NO", "ONE")
        assert_back_in_time(lock)


def test_a_redis_without_memory_counts_as_down_until_it_has_some(server: RedisServer) -> None:
    with opened(server.url) as lock:
        assert is_guarded(lock)
        server.client.config_set("maxmemory", "1")
        assert not is_guarded(lock)
        server.client.config_set("maxmemory", "0")
        assert_back_in_time(lock)


def test_connections_that_redis_closes_are_made_anew_and_count_as_no_outage(
    server: RedisServer, pool: ThreadPoolExecutor
) -> None:
    outages = counted("reback_lock_outages_total")
    with opened(server.url) as lock:
        for _ in range(5):
            assert is_guarded(lock)
            server.client.client_kill_filter(_type="normal", skipme=True)
            assert is_guarded(lock)
            server.client.client_kill_filter(_type="pubsub", skipme=True)
            assert is_guarded(lock)
        holder = Held(pool, lock)
        assert holder.has_it.wait(TIMEOUT_S)
        waiter = Held(pool, lock)
        wait_until(lambda: server.client.exists("lock-queue:tea") == 1, "it is in the queue")
        server.client.client_kill_filter(_type="pubsub", skipme=True)
        assert holder.end()
        assert waiter.end()  # the message may be lost, but it asks each second
    assert counted("reback_lock_outages_total") == outages


def test_scripts_that_redis_forgot_are_sent_again(server: RedisServer) -> None:
    outages = counted("reback_lock_outages_total")
    with opened(server.url) as lock:
        for _ in range(3):
            assert is_guarded(lock)
            server.client.script_flush()
    assert counted("reback_lock_outages_total") == outages


def test_close_is_quick_whatever_redis_does(server: RedisServer) -> None:
    with opened(server.url) as lock:
        assert is_guarded(lock)
        began = time.monotonic()
    assert time.monotonic() - began < QUICK
    with opened(server.url) as lock:
        assert is_guarded(lock)
        server.kill()
        began = time.monotonic()
    assert time.monotonic() - began < 2 * QUICK
