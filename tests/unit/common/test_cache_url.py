from datetime import timedelta

import pytest

from common.cache.drivers import CACHES, open_cache
from common.cache.local import LocalCache, LocalCacheUrl
from common.cache.none import NoCache
from common.cache.redis import RedisCache, RedisCacheUrl


@pytest.mark.parametrize(
    ("url", "driver"),
    [
        ("local://", LocalCache),
        ("none://", NoCache),
        ("redis://h/0", RedisCache),
        ("rediss+sentinel://h/s", RedisCache),
    ],
)
def test_the_scheme_names_the_driver(url: str, driver: type) -> None:
    cache = open_cache(url)
    assert type(cache) is driver
    cache.close()


def test_a_local_cache_has_a_time_and_a_size() -> None:
    plain, given = LocalCacheUrl.parse("local://"), LocalCacheUrl.parse("local://?expiry=0.5&entries=3")
    assert (plain.expiry, plain.entries) == (timedelta(seconds=5), 10_000)
    assert (given.expiry, given.entries) == (timedelta(seconds=0.5), 3)


def test_a_cache_in_redis_forgets_sooner_than_a_lock() -> None:
    assert RedisCacheUrl.parse("redis://h/0").expiry == timedelta(seconds=5)
    assert RedisCacheUrl.parse("redis://h/0?expiry=2").expiry == timedelta(seconds=2)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("memcached://h", "begins with local://, none://, redis://"),
        ("local:", "begins with local://"),
        ("local://host", "has a host"),
        ("local:///path", "has a path"),
        ("local://?size=3", "no such parameter 'size'; there are expiry, entries"),
        ("local://?entries=0", "entries must be a whole number from 1"),
        ("local://?expiry=0", "expiry must be a number of seconds above 0"),
        ("none://?expiry=1", "no such parameter 'expiry'; there are none"),
        ("redis://:secret@h/x", "its database must be a number"),
    ],
)
def test_what_is_wrong_is_named_without_secrets(url: str, said: str) -> None:
    with pytest.raises(ValueError) as wrong:
        CACHES.read(url)
    assert said in str(wrong.value)
    assert "secret" not in str(wrong.value)
