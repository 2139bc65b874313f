from datetime import timedelta
from pathlib import Path

import pytest

from common.lock.drivers import open_lock
from common.process.settings import mask
from common.redis.url import RedisUrl, parse_redis_url


def test_a_plain_url_has_the_usual_port_and_database() -> None:
    assert parse_redis_url("redis://cache") == RedisUrl(hosts=(("cache", 6379),))
    assert parse_redis_url("redis://[::1]:7000/3") == RedisUrl(hosts=(("::1", 7000),), database=3)


def test_users_and_passwords_are_unquoted_and_not_shown() -> None:
    url = parse_redis_url("rediss://app:p%40ss%2F@cache:6380/1")
    assert url == RedisUrl(hosts=(("cache", 6380),), database=1, username="app", password="p@ss/", tls=True)
    assert "p@ss" not in repr(url)
    assert parse_redis_url("redis://:secret@cache").password == "secret"


def test_sentinels_name_a_service() -> None:
    url = parse_redis_url("redis+sentinel://:pw@a,b:26380/stock-lock/2?sentinel_password=other")
    assert url == RedisUrl(
        hosts=(("a", 26379), ("b", 26380)),
        service="stock-lock",
        database=2,
        password="pw",
        sentinel_password="other",
    )
    assert parse_redis_url("rediss+sentinel://a/stock-lock").tls


def test_parameters_have_types(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.touch()
    url = parse_redis_url(f"rediss://h?expiry=3&timeout=0.2&prefix=test:&tls_ca={authority}&tls_check_hostname=off")
    assert url.expiry == timedelta(seconds=3)
    assert url.timeout == timedelta(seconds=0.2)
    assert (url.prefix, url.tls_ca, url.tls_check_hostname) == ("test:", str(authority), False)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis:/h", "begins with redis://"),
        ("redis://", "no host:port"),
        ("redis://h:0", "no host:port"),
        ("redis://h:70000", "no host:port"),
        ("redis://h:x", "no host:port"),
        ("redis://a,b", "no host:port"),
        ("redis://h/tea", "the database is a number"),
        ("redis://h/0/1", "the database is a number"),
        ("redis+sentinel://h", "names no service"),
        ("redis+sentinel://h/service/x", "the database is a number"),
        ("redis+sentinel://h,/service", "no host:port,host:port"),
        ("redis://h?expirey=3", "no such parameter 'expirey'"),
        ("redis://h?expiry=0", "expiry is a number of seconds"),
        ("redis://h?expiry=nan", "expiry is a number of seconds"),
        ("redis://h?expiry=3&expiry=4", "expiry stands twice"),
        ("rediss://h?tls_ca=/no/such/file", "there is no file"),
        ("rediss://h?tls_check_hostname=perhaps", "is on or off"),
    ],
)
def test_a_wrong_url_is_refused_with_what_is_wrong(url: str, said: str) -> None:
    with pytest.raises(ValueError) as error:
        open_lock(url) if url.startswith("redis://h?") else parse_redis_url(url)
    assert said in str(error.value)


@pytest.mark.parametrize(
    "password", ["hun#ter2", "hun/ter2", "hun?ter2", "hun@ter2", "hun:ter2", "[hun]ter2", "hun%ter2"]
)
@pytest.mark.parametrize("form", ["redis://:{}@h:x", "redis://app:{}@h/0", "redis+sentinel://:{}@a,b/s?x=1"])
def test_no_text_has_a_password_not_even_one_that_breaks_the_url(form: str, password: str) -> None:
    url = form.format(password)
    try:
        text = repr(parse_redis_url(url))
    except ValueError as error:
        text = str(error)
    assert "hun" not in text
    assert "ter2" not in text
    assert "ter2" not in mask(url)
