"""Settings from the environment and `.env`: typed, and checked before anything starts.

A service's settings are a subclass of `ServiceSettings` with a prefix of its own. Each field's description says what is
allowed: it is what a person reads who got it wrong.
"""

import difflib
import os
import re
import sys
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar
from urllib.parse import urlsplit

from dotenv import dotenv_values
from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsConfigDict

from common.addresses import split_address, split_advertised
from common.cache.url import parse_cache_url
from common.database.mysql.url import ALLOWED_URL as ALLOWED_MYSQL_URL
from common.database.mysql.url import parse_mysql_url
from common.discovery.consul.url import ALLOWED_URL as ALLOWED_CONSUL_URL
from common.discovery.consul.url import SCHEMES as CONSUL_SCHEMES
from common.discovery.consul.url import parse_consul_url
from common.discovery.static import parse_static_url
from common.messaging.embedded.url import ALLOWED_URL as ALLOWED_EMBEDDED_URL
from common.messaging.embedded.url import parse_url as parse_embedded_url
from common.messaging.rocketmq.native.library import check_url as check_native_url
from common.messaging.rocketmq.native.url import ALLOWED_URL as ALLOWED_NATIVE_URL
from common.messaging.rocketmq.native.url import SCHEME as NATIVE_SCHEME
from common.messaging.rocketmq.proxy.url import ALLOWED_URL as ALLOWED_ROCKETMQ_URL
from common.messaging.rocketmq.proxy.url import SCHEME as ROCKETMQ_SCHEME
from common.messaging.rocketmq.proxy.url import parse_url as parse_rocketmq_url
from common.process.cpu_affinity import AUTO, check_cpu
from common.redis.url import SCHEMES as REDIS_SCHEMES
from common.redis.url import parse_redis_url

_ENV_FILE: Final = ".env"
_LONGEST: Final = timedelta(days=3660)
_WRONG_SETTINGS: Final = 2  # the exit code of a program that was called wrongly

# What Kubernetes sets for a service that is called as our prefix is: ORDER_SRV_SERVICE_HOST, ORDER_PORT_50051_TCP.
_OF_KUBERNETES: Final = re.compile(r"_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT|PORT_\d+_(TCP|UDP)(_\w+)?)$")

_CONSUL_TOKEN: Final = re.compile(r"^(consul(?:\+https)?://).*@")  # all that stands before the host is the token
_PASSWORD: Final = re.compile(r"(?<=://)([^:/?#]*):.*@")  # to the last @: what is not sure is masked as well
_SECRET_PARAMETER: Final = re.compile(r"([?&][^=&]*(?:password|secret|token)[^=&]*=)[^&#]*", re.IGNORECASE)


def mask(url: str) -> str:
    """The URL as logs may have it: without passwords and tokens."""
    if url.startswith("consul"):
        url = _CONSUL_TOKEN.sub(r"\1***@", _SECRET_PARAMETER.sub(r"\1***", url))
    return _SECRET_PARAMETER.sub(r"\1***", _PASSWORD.sub(r"\1:***@", url))


def of_scheme(*schemes: str) -> Callable[[str], str]:
    """A check that a URL has one of these schemes: the drivers that there are."""

    def check(url: str) -> str:
        if urlsplit(url).scheme not in schemes or "://" not in url:
            raise ValueError(f"not a URL that begins with {' or '.join(f'{scheme}://' for scheme in schemes)}")
        return url

    return check


def _seconds(value: object) -> timedelta:
    if isinstance(value, timedelta):
        return value
    try:
        seconds = float(str(value))
    except ValueError:
        raise ValueError("not a number") from None
    if not 0 <= seconds <= _LONGEST.total_seconds():
        raise ValueError("out of range")
    return timedelta(seconds=seconds)


def _above_zero(value: timedelta) -> timedelta:
    if not value:
        raise ValueError("out of range")
    return value


def _listen_address(value: str) -> str:
    split_address(value)
    return value


def _broker_url(url: str) -> str:
    checks: dict[str, Callable[[str], object]] = {ROCKETMQ_SCHEME: parse_rocketmq_url, NATIVE_SCHEME: check_native_url}
    checks.get(urlsplit(url).scheme, parse_embedded_url)(url)
    return url


def _lock_url(url: str) -> str:
    if urlsplit(url).scheme in REDIS_SCHEMES:
        parse_redis_url(url)
    return url


def _cache_url(url: str) -> str:
    if url:
        parse_cache_url(url)
    return url


def _discovery_url(url: str) -> str:
    if urlsplit(url).scheme in CONSUL_SCHEMES:
        parse_consul_url(url)
    else:
        parse_static_url(url)
    return url


def _advertised(value: str) -> str:
    if value:
        split_advertised(value)
    return value


def _database_url(url: str) -> str:
    if url.startswith("mysql:"):
        parse_mysql_url(url)
        return url
    parts = urlsplit(url)
    if parts.netloc or parts.path in ("", "/"):
        raise ValueError("names no file")
    return url


Seconds = Annotated[
    timedelta,
    BeforeValidator(_seconds),
    Field(description="a number of seconds from 0 to ten years, such as 30 or 0.5"),
]
PositiveSeconds = Annotated[
    timedelta,
    BeforeValidator(_seconds),
    AfterValidator(_above_zero),
    Field(description="a number of seconds above 0 and up to ten years, such as 30 or 0.5"),
]
Address = Annotated[
    str,
    AfterValidator(_listen_address),
    Field(description="host:port, such as 127.0.0.1:50051, 0.0.0.0:50051 or [::1]:0 (port 0: a free one)"),
]
OptionalAddress = Annotated[
    str,
    AfterValidator(lambda value: value and _listen_address(value)),
    Field(description="host:port, such as 127.0.0.1:9464, or empty: none"),
]
AdvertisedAddress = Annotated[
    str,
    AfterValidator(_advertised),
    Field(description="host:port or a host, such as 10.0.0.5, or empty: the address that it listens on"),
]
DatabaseUrl = Annotated[
    str,
    AfterValidator(of_scheme("sqlite", "mysql")),
    AfterValidator(_database_url),
    Field(description=f"sqlite:///relative.db, sqlite:////absolute.db or {ALLOWED_MYSQL_URL}"),
]
BrokerUrl = Annotated[
    str,
    AfterValidator(of_scheme("embedded", ROCKETMQ_SCHEME, NATIVE_SCHEME)),
    AfterValidator(_broker_url),
    Field(
        description=f"{ALLOWED_EMBEDDED_URL}, {ALLOWED_ROCKETMQ_URL} (a proxy) or {ALLOWED_NATIVE_URL}, "
        "with ?name=value&… for its parameters"
    ),
]
LockUrl = Annotated[
    str,
    AfterValidator(of_scheme("local", *REDIS_SCHEMES)),
    AfterValidator(_lock_url),
    Field(
        description="local://, redis://[user:password@]host:6379/0 or "
        "redis+sentinel://[user:password@]host:26379,host:26379/service/0 (rediss…: by TLS), "
        "with ?name=value&… for its parameters"
    ),
]
CacheUrl = Annotated[
    str,
    AfterValidator(_cache_url),
    Field(
        description="empty, local://, none://, redis://[user:password@]host:6379/0 or "
        "redis+sentinel://[user:password@]host:26379,host:26379/service/0 (rediss…: by TLS), "
        "with ?name=value&… for its parameters"
    ),
]
DiscoveryUrl = Annotated[
    str,
    AfterValidator(of_scheme("static", *CONSUL_SCHEMES)),
    AfterValidator(_discovery_url),
    Field(
        description="static://?SERVICE=HOST:PORT, several as SERVICE=HOST:PORT,HOST:PORT&SERVICE=…, or "
        f"{ALLOWED_CONSUL_URL}, with ?name=value&… for its parameters"
    ),
]


Cpu = Annotated[
    str,
    BeforeValidator(str.lower),
    AfterValidator(check_cpu),
    Field(description="auto (one that it picks), any (the system's choice) or the number of a CPU"),
]


class ServiceSettings(BaseSettings):
    """What every service can be told.

    Attributes:
        listen: Where to serve gRPC, `host:port`.
        advertise: What others are told to call, `host:port` or a host; empty: where it listens, and for 0.0.0.0 the
            machine's own address.
        database_url: Which database.
        broker_url: Which message broker.
        discovery_url: Which registry.
        threads: How many calls are handled at once.
        cpu: On which CPU the process runs: on one (`auto`), on that of this number, or on any.
        metrics_listen: Where to serve what is counted, for Prometheus; empty: nowhere.
        reflection: Whether gRPC clients may ask what services there are.
        topic_prefix: Put before each topic's name, one an environment.
        crash_at: The crash point at which the process kills itself; empty: none.
        log_level: What is logged at least.
        log_format: How; auto is pretty on a terminal and JSON elsewhere.
    """

    model_config = SettingsConfigDict(env_file=_ENV_FILE, env_ignore_empty=True, extra="ignore", frozen=True)

    listen: Address
    advertise: AdvertisedAddress = ""
    database_url: DatabaseUrl
    broker_url: BrokerUrl = "embedded:///.run/broker.db"
    discovery_url: DiscoveryUrl = "static://?inventory-srv=127.0.0.1:50052"
    threads: int = Field(64, ge=1, le=1024, description="a whole number from 1 to 1024")
    cpu: Cpu = AUTO
    metrics_listen: OptionalAddress = ""
    reflection: bool = Field(default=True, description="on or off")
    topic_prefix: str = Field("", pattern=r"^[A-Za-z0-9_-]{0,64}$", description="up to 64 of A-Z a-z 0-9 _ -")
    crash_at: str = Field("", description="the name of a crash point, or empty")
    log_level: Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(str.lower)] = Field(
        "info", description="debug, info, warning or error"
    )
    log_format: Annotated[Literal["auto", "json", "pretty"], BeforeValidator(str.lower)] = Field(
        "auto", description="auto, json or pretty"
    )


S = TypeVar("S", bound=ServiceSettings)


class WrongSettings(Exception):
    """Settings that a service can't start with; `lines` has one for each wrong variable."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.lines = list(lines)
        super().__init__("\n".join(self.lines))


def read_settings(settings_class: type[S]) -> S:
    """Read the settings from the environment, and from `.env` in the current folder where that is silent.

    Raises:
        WrongSettings: A value is not allowed, or a variable with the service's prefix is no setting.
    """
    lines = [_unknown_line(settings_class, name) for name in _unknown_names(settings_class)]
    from_environment: Callable[[], S] = settings_class
    try:
        settings = from_environment()
    except ValidationError as error:
        lines = [_wrong_line(settings_class, each) for each in error.errors()] + lines
    if lines:
        raise WrongSettings(lines)
    return settings


def load_settings(settings_class: type[S]) -> S:
    """Read the settings, or say on stderr what is wrong with each and exit with 2."""
    try:
        return read_settings(settings_class)
    except WrongSettings as wrong:
        sys.stderr.write(f"{wrong}\n")
        sys.exit(_WRONG_SETTINGS)


def _unknown_names(settings_class: type[S]) -> list[str]:
    """Variables that look like settings of this service and are none: slips that would go unnoticed."""
    given = set(os.environ)
    if Path(_ENV_FILE).is_file():
        given |= set(dotenv_values(_ENV_FILE))
    known = {_variable(settings_class, field) for field in settings_class.model_fields}
    prefix = str(settings_class.model_config["env_prefix"])
    return sorted(
        name
        for name in given
        if name.upper().startswith(prefix) and name.upper() not in known and not _OF_KUBERNETES.search(name)
    )


def _unknown_line(settings_class: type[S], name: str) -> str:
    prefix = str(settings_class.model_config["env_prefix"])
    known = [field.upper() for field in settings_class.model_fields]
    alike = difflib.get_close_matches(name.upper().removeprefix(prefix), known, n=1)
    if alike:
        return f"{name}: no such setting; did you mean {prefix}{alike[0]}?"
    return f"{name}: no such setting; there are {', '.join(prefix + each for each in known)}"


def _wrong_line(settings_class: type[S], error: ErrorDetails) -> str:
    field = str(error["loc"][0])
    why = mask(str(error.get("ctx", {}).get("error", "")))  # what a check of ours said
    value = mask(str(error["input"]))
    allowed = settings_class.model_fields[field].description
    return f"{_variable(settings_class, field)}={value!r}: {f'{why}; ' if why else ''}allowed is {allowed}"


def _variable(settings_class: type[S], field: str) -> str:
    return f"{settings_class.model_config['env_prefix']}{field}".upper()
