"""Redis killed, empty, hung, full: reads go on without it, changes say that they were not told, and then it is used."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from common.cache.drivers import open_cache
from common.cache.port import UNKNOWN, Row
from common.cache.redis import RedisCache
from common.process.logs import set_up_logs
from tests.support.redis_server import RedisServer, redis_server
from tests.support.waiting import wait_until

FIVE, SIX = (5, 50, 0), (6, 40, 10)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with redis_server(tmp_path) as started:
        yield started


@contextmanager
def opened(url: str) -> Iterator[RedisCache]:
    cache = open_cache(url)
    assert isinstance(cache, RedisCache)
    try:
        yield cache
    finally:
        cache.close()


@pytest.fixture
def cache(server: RedisServer) -> Iterator[RedisCache]:
    with opened(f"{server.url}?expiry=1000&timeout=20") as made:
        yield made


def found(cache: RedisCache) -> Row | None:
    return cache.read(["tea"]).rows.get("tea")


def put(cache: RedisCache, row: Row) -> bool:
    return cache.change({"tea": row}, cache.read(["nothing"]).since)


def counted(name: str) -> float:
    return REGISTRY.get_sample_value(f"reback_cache_{name}_total") or 0.0


def both_are_back(cache: RedisCache) -> bool:
    return cache._reads.up and cache._changes.up


def test_a_redis_that_is_killed_stops_nobody_and_is_used_again_when_it_is_back(
    server: RedisServer, cache: RedisCache
) -> None:
    before = counted("outages")
    assert put(cache, FIVE)
    server.kill()
    for _ in range(100):
        reading = cache.read(["tea"])
        assert reading.rows == {}
        cache.fill({"tea": FIVE}, reading.since)
    server.start()
    wait_until(lambda: both_are_back(cache), "Redis is found again")
    assert found(cache) is None
    assert put(cache, SIX)
    assert found(cache) == SIX
    assert counted("outages") == before + 1


def test_a_redis_that_hangs_keeps_each_reader_once(server: RedisServer, cache: RedisCache) -> None:
    before = counted("outages")
    assert put(cache, FIVE)
    server.pause()
    try:
        for _ in range(1000):  # each of which would wait for its own timeout
            assert cache.read(["tea"]) == ({}, UNKNOWN)
    finally:
        server.resume()
    assert counted("outages") == before + 1
    wait_until(lambda: found(cache) == FIVE, "what it kept is found again")


def test_a_reader_that_timed_out_keeps_no_writer_from_telling(server: RedisServer, cache: RedisCache) -> None:
    assert put(cache, FIVE)
    with opened(f"{server.url}?expiry=1000") as other:
        cache._reads.went_away(TimeoutError("it took too long"))
        assert cache.change({"tea": SIX}, cache.now())
        assert found(other) == SIX


def test_who_could_not_tell_a_change_reads_from_the_database_as_long_as_others_may_see_older_stock(
    server: RedisServer, cache: RedisCache
) -> None:
    before = counted("untold")
    assert put(cache, FIVE)
    server.client.config_set("maxmemory", "1")  # it answers readers and takes nothing
    assert not cache.change({"tea": SIX}, cache.now())
    server.client.config_set("maxmemory", "0")
    wait_until(lambda: both_are_back(cache), "Redis takes rows again")
    assert found(cache) is None
    cache._untold_until = 0.0  # as when that time is over
    assert found(cache) == FIVE
    assert counted("untold") == before + 1


def test_a_redis_that_forgot_everything_is_filled_again(server: RedisServer, cache: RedisCache) -> None:
    assert put(cache, FIVE)
    server.client.flushall()
    server.client.script_flush()
    reading = cache.read(["tea"])
    assert reading.rows == {}
    cache.fill({"tea": FIVE}, reading.since)
    assert found(cache) == FIVE


def test_every_entry_expires(server: RedisServer, cache: RedisCache) -> None:
    put(cache, FIVE)
    cache.fill({"mug": FIVE}, cache.read(["mug"]).since)
    cache.change({"milk": FIVE}, UNKNOWN)
    left = {key: server.client.pttl(key) for key in server.client.keys("*")}
    assert left.keys() == {b"tea", b"mug", b"milk"}
    assert all(0 < ms <= 1_000_000 for ms in left.values())


def test_a_clock_of_redis_that_went_back_makes_what_was_read_before_too_late(cache: RedisCache) -> None:
    since = cache.read(["tea"]).since + 60_000  # as an older clock told it
    cache.fill({"tea": FIVE}, since)
    assert found(cache) is None
    cache.change({"tea": FIVE}, since)
    assert found(cache) is None


def test_nobody_reckons_with_a_clock_that_was_read_long_ago(cache: RedisCache, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache.now() == UNKNOWN
    answer = cache.read(["tea"]).since
    assert answer <= cache.now() <= cache.read(["tea"]).since
    monkeypatch.setattr("common.cache.redis._CLOCK_GOOD_FOR_S", 0.0)
    assert cache.now() == UNKNOWN


def test_a_warning_tells_of_an_outage_once_and_of_no_password(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    set_up_logs("inventory", "debug", "json")
    try:
        with (
            redis_server(tmp_path, "requirepass hunter1", password="hunter1") as server,
            opened(f"redis://:hunter2@127.0.0.1:{server.port}/0") as cache,
        ):
            for _ in range(20):
                assert found(cache) is None
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
    logged = capsys.readouterr().err
    assert logged.count('"warning"') == 1
    assert "Redis is down: values are read from their source" in logged
    assert "hunter" not in logged
