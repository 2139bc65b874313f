"""What every driver's URL has in common, and the URLs of fixed addresses."""

from itertools import product
from typing import Any

import pytest
from pydantic import SecretStr

from common.cache.drivers import CACHES
from common.database.drivers import DATABASES
from common.database.port import DatabaseUrl
from common.discovery.drivers import REGISTRIES, open_discovery
from common.discovery.port import DiscoveryUrl
from common.discovery.static import StaticUrl
from common.driver_table import Drivers
from common.driver_url import DriverUrl, mask_url
from common.lock.drivers import LOCKS, open_lock
from common.messaging.drivers import BROKERS
from common.redis.url import RedisUrl

PORTS: list[tuple[Drivers[Any], type[DriverUrl]]] = [
    (DATABASES, DatabaseUrl),
    (BROKERS, DriverUrl),
    (LOCKS, DriverUrl),
    (CACHES, DriverUrl),
    (REGISTRIES, DiscoveryUrl),
]
SCHEMES = [(drivers, scheme, base) for drivers, base in PORTS for scheme in drivers.table]


@pytest.mark.parametrize(("drivers", "scheme", "base"), SCHEMES)
def test_every_scheme_has_a_url_of_its_port_that_says_how_it_is_written(
    drivers: Drivers[Any], scheme: str, base: type[DriverUrl]
) -> None:
    url = drivers.url_class(scheme)
    assert issubclass(url, base)
    assert scheme.partition("+")[0].rstrip("s") in url.form
    assert all(url.model_fields[name].description for name in url.rules())


@pytest.mark.parametrize(("drivers", "base"), PORTS)
def test_an_unknown_driver_is_refused_with_those_that_there_are(drivers: Drivers[Any], base: type[DriverUrl]) -> None:
    for text in ("zoo://host", "zoo", "", f"{next(iter(drivers.table))}:"):
        with pytest.raises(ValueError, match=r"^must be a URL that begins with \w+://"):
            drivers.read(text)


def test_a_url_is_masked_wherever_it_is_printed() -> None:
    url = RedisUrl.parse("redis://app:hunter2@cache/0?sentinel_password=hunter3&prefix=a:")
    shown = "redis://***@cache/0?sentinel_password=***&prefix=a:"
    assert str(url) == shown
    assert repr(url) == f"RedisUrl({shown!r})"
    assert repr(url.model_dump()) == repr(shown)
    assert "hunter" not in url.model_dump_json()
    assert url.password == SecretStr("hunter2")
    assert url.reveal() == "redis://app:hunter2@cache/0?sentinel_password=hunter3&prefix=a:"


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("mysql://app:hunter2@db:3306/order", "mysql://***@db:3306/order"),
        ("mysql://app:a@b@db/order", "mysql://***@db/order"),
        ("mysql://app:a@b/c?d@db/order", "mysql://***"),
        ("mysql:app:hunter2@db", "***"),
        ("mysql:app:hunter2", "***"),
        ("app hunter2://x@db", "***"),
        ("mysql://app:hunter2", "mysql://***"),
        ("mysql://app:hun/ter2", "mysql://***"),
        ("mysql://db?password=hunter2", "mysql://db?password=***"),
        ("mysql://db/order?hunter2", "mysql://db/order?***"),
        ("mysql://db/order#hunter2", "mysql://***"),
        ("mysql://db/order?tls=off#hunter2", "mysql://***"),
        ("mysql://db/order?tls=off&user=hunter2", "mysql://db/order?tls=off&user=***"),
        ("redis://:secret@cache/0", "redis://***@cache/0"),
        ("consul://host:8500?token=abc&dc=eu", "consul://host:8500?token=***&dc=eu"),
        ("consul://host:8500?token=a@b", "consul://***"),
        ("consul://abc@host:8500?dc=eu", "consul://***@host:8500?dc=eu"),
        ("sqlite:///.run/order.db", "sqlite:///.run/order.db"),
        ("sqlite:///.run/order.db?mode=ro", "sqlite:///.run/order.db?mode=***"),
        ("static://?order-srv=127.0.0.1:50051", "static://?order-srv=127.0.0.1:50051"),
        ("orders.db", "orders.db"),
        ("", ""),
    ],
)
def test_a_masked_url_has_no_secret(url: str, masked: str) -> None:
    scheme = url.partition("://")[0]
    known = next((drivers.url_class(scheme) for drivers, _ in PORTS if scheme in drivers.table), None)
    assert mask_url(url, known) == masked


@pytest.mark.parametrize(("drivers", "scheme", "base"), SCHEMES)
def test_no_text_has_a_secret_not_even_one_that_breaks_the_url(
    drivers: Drivers[Any], scheme: str, base: type[DriverUrl]
) -> None:
    forms = ":{}@h:x app:{}@h/0 app:{}@h?x=1 {}@h h?token={} h?x={} h/0?password={} h/{}@ app:{}x:"
    for form, secret in product(forms.split(), ["#", "/", "?", "@", ":", "[", "]", "%", "%0A", "&", "=", "ü", " "]):
        text = f"{scheme}://{form.format(f'hun{secret}ter2')}"
        try:
            shown = repr(drivers.read(text))
        except ValueError as error:
            shown = str(error)
        if scheme != "static" or "@" in text:  # what follows its ? is names and addresses
            assert "ter2" not in shown + drivers.mask(text), text


def test_a_static_url_names_services_and_addresses() -> None:
    url = StaticUrl.parse("static://?a-srv=h:1,[::1]:2,h:1&b-srv=10.0.0.1:3")
    assert url.addresses == {"a-srv": ("[::1]:2", "h:1"), "b-srv": ("10.0.0.1:3",)}
    assert StaticUrl.parse("static://").addresses == {}
    assert (url.may_know("a-srv"), url.may_know("c-srv")) == (True, False)


@pytest.mark.parametrize(
    ("url", "part"),
    [
        ("static:///x?a=h:1", "has a path"),
        ("static://host?a=h:1", "has a host"),
        ("static://?a=h:1#b", "has a #"),
        ("static://?a", "name=value"),
        ("static://?a=", "a must be host:port"),
        ("static://?a=h:1,", "a must be host:port"),
        ("static://?a=h", "a must be host:port"),
        ("static://?a=h:0", "a must be host:port"),
        ("static://?a=h:1&=h:2", "name=value"),
        ("static://?a=h:1&a=h:2", "a is given twice"),
    ],
)
def test_a_malformed_static_url_names_the_part(url: str, part: str) -> None:
    with pytest.raises(ValueError) as error:
        open_discovery(url)
    assert part in str(error.value)


def test_a_url_of_another_port_is_read_anew() -> None:
    lock = LOCKS.read("redis://:secret@h/0?prefix=a:")
    cache = CACHES.check(lock)
    assert (type(lock).__name__, type(cache).__name__) == ("RedisLockUrl", "RedisCacheUrl")
    assert cache.reveal() == lock.reveal()
    with pytest.raises(ValueError, match="must be a URL that begins with static://"):
        REGISTRIES.check(lock)
    open_lock(lock).close()
