from datetime import timedelta

import pytest

from common.cache.drivers import open_cache
from common.cache.local import LocalCache
from common.cache.none import NoCache
from common.cache.redis import RedisCache
from common.cache.url import LocalUrl, parse_cache_url
from common.redis.url import RedisUrl


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
    assert parse_cache_url("local://") == LocalUrl(timedelta(seconds=5), 10_000)
    assert parse_cache_url("local://?expiry=0.5&entries=3") == LocalUrl(timedelta(seconds=0.5), 3)


def test_a_cache_in_redis_forgets_sooner_than_a_lock() -> None:
    assert parse_cache_url("redis://h/0") == RedisUrl(hosts=(("h", 6379),), expiry=timedelta(seconds=5))
    assert parse_cache_url("redis://h/0?expiry=2") == RedisUrl(hosts=(("h", 6379),), expiry=timedelta(seconds=2))


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("memcached://h", "begins with local:// or none:// or redis://"),
        ("local:", "begins with local://"),
        ("local://host", "no host"),
        ("local:///path", "no path"),
        ("local://?size=3", "unknown parameter 'size'"),
        ("local://?entries=0", "from 1"),
        ("local://?expiry=0", "above 0"),
        ("none://?expiry=1", "no parameters"),
        ("redis://:secret@h/x", "the database is a number"),
    ],
)
def test_what_is_wrong_is_named_without_secrets(url: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as wrong:
        open_cache(url)
    assert "secret" not in str(wrong.value)
