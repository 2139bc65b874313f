from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from common.lock.drivers import LOCKS
from common.lock.redis.url import RedisLockUrl
from tests.support.certificates import Authority


def test_a_plain_url_has_the_usual_port_and_database() -> None:
    url = RedisLockUrl.parse("redis://cache")
    assert (url.hosts, url.database, url.service, url.user, url.password) == ((("cache", 6379),), 0, None, None, None)
    assert (url.expiry, url.timeout, url.tls) == (timedelta(seconds=15), timedelta(seconds=1), False)
    ipv6 = RedisLockUrl.parse("redis://[::1]:7000/3")
    assert (ipv6.hosts, ipv6.database) == ((("::1", 7000),), 3)


def test_users_and_passwords_are_decoded_and_not_shown() -> None:
    url = RedisLockUrl.parse("rediss://app:p%40ss%2F@cache:6380/1")
    assert (url.user, url.password, url.tls) == ("app", SecretStr("p@ss/"), True)
    assert "ss/" not in repr(url)
    assert RedisLockUrl.parse("redis://:secret@cache").password == SecretStr("secret")


def test_sentinels_name_a_service() -> None:
    url = RedisLockUrl.parse("redis+sentinel://:pw@a,b:26380/stock-lock/2?sentinel_password=other")
    assert (url.hosts, url.service, url.database) == ((("a", 26379), ("b", 26380)), "stock-lock", 2)
    assert (url.password, url.sentinel_password) == (SecretStr("pw"), SecretStr("other"))
    assert RedisLockUrl.parse("rediss+sentinel://a/stock-lock").tls


def test_parameters_have_types_and_a_plus_is_a_plus(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "a+b").certificate
    url = RedisLockUrl.parse(f"rediss://h?expiry=3&timeout=0.2&prefix=test:&tls_ca={authority}&tls_check_hostname=off")
    assert (url.expiry, url.timeout) == (timedelta(seconds=3), timedelta(seconds=0.2))
    assert (url.prefix, url.tls_ca, url.tls_check_hostname) == ("test:", str(authority), False)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("redis:/h", "begins with local://, redis://, rediss://"),
        ("redis://", "its host must be host:port"),
        ("redis://h:0", "its host must be host:port"),
        ("redis://h:70000", "its host must be host:port"),
        ("redis://h:x", "its host must be host:port"),
        ("redis://a,b", "its host must be one host:port"),
        ("redis://h/tea", "its database must be a number"),
        ("redis://h/0/1", "its path must be a database's number alone"),
        ("redis+sentinel://h", "names no service"),
        ("redis+sentinel://h/service/x", "its database must be a number"),
        ("redis+sentinel://h,/service", "its host must be host:port"),
        ("redis://h?expirey=3", "no such parameter 'expirey'; there are prefix, timeout"),
        ("redis://h?expiry=0", "expiry must be a number of seconds from 0.3 to 3600"),
        ("redis://h?expiry=nan", "expiry must be a number of seconds"),
        ("redis://h?expiry=3&expiry=4", "expiry is given twice"),
        ("redis://h?expiry=0&timeout=x", "expiry must be"),
        ("redis://h?expiry=0&timeout=x", "timeout must be"),
        ("rediss://h?tls_ca=/no/such/file", "tls_ca must be the path of a file that can be read"),
        ("rediss://h?tls_check_hostname=perhaps", "tls_check_hostname must be on or off"),
        ("redis://h?tls_check_hostname=off", "tls_check_hostname needs TLS"),
        ("rediss://h?tls_key=/etc/hosts", "tls_key needs tls_cert"),
    ],
)
def test_a_wrong_url_is_refused_with_what_is_wrong(url: str, said: str) -> None:
    with pytest.raises(ValueError) as error:
        LOCKS.read(url)
    assert said in str(error.value)
