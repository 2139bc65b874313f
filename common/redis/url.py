"""What the URL of a Redis says.

    redis://[user:password@]host[:6379][/database]
    rediss://…                                                         by TLS
    redis+sentinel://[user:password@]host[:26379][,host…]/service[/database]
    rediss+sentinel://…                                                Redis and its Sentinels by TLS

with `?name=value&…` for what `_OPTIONS` names. What is not a plain letter or digit in a user or password is written as
%40. No text made here quotes the URL: it has the password.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from common.url_options import parameters, seconds_between

SCHEMES: Final = ("redis", "rediss", "redis+sentinel", "rediss+sentinel")

_REDIS_PORT: Final = 6379
_SENTINEL_PORT: Final = 26379
_LARGEST_PORT: Final = 65_535

_HOST: Final = re.compile(r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:(?P<port>\d{1,5}))?")

_SECONDS: Final = {"expiry": (0.3, 3600.0), "timeout": (0.05, 60.0), "connect_timeout": (0.05, 60.0)}
_TEXTS: Final = ("prefix", "sentinel_username", "sentinel_password", "tls_key_password")
_FILES: Final = ("tls_ca", "tls_cert", "tls_key")
_SWITCHES: Final = ("tls_check_hostname",)
_OPTIONS: Final = (*_SECONDS, *_TEXTS, *_FILES, *_SWITCHES)


@dataclass(frozen=True, slots=True)
class RedisUrl:
    """Where a Redis is, and how a lock or a cache uses it.

    Attributes:
        hosts: Of the one Redis, or of all its Sentinels.
        service: How the Sentinels call the Redis; None: no Sentinels.
        database: Its number.
        username, password: Of Redis; None: none.
        sentinel_username, sentinel_password: Of the Sentinels; None: none.
        tls: Whether to speak TLS.
        tls_ca, tls_cert, tls_key: Files: who is trusted (None: whom the machine trusts), and who we are.
        tls_key_password: Of `tls_key`.
        tls_check_hostname: Whether a certificate must name its host.
        prefix: Put before each key, one an environment.
        expiry: When a lock ends whose holder is gone, 15 s; or an entry of a cache, which has a default of its own.
        timeout: How long an answer may take; 1 s.
        connect_timeout: How long a connection may take; 0.5 s.
    """

    hosts: tuple[tuple[str, int], ...]
    service: str | None = None
    database: int = 0
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    sentinel_username: str | None = None
    sentinel_password: str | None = field(default=None, repr=False)
    tls: bool = False
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None
    tls_key_password: str | None = field(default=None, repr=False)
    tls_check_hostname: bool = True
    prefix: str = ""
    expiry: timedelta = timedelta(seconds=15)
    timeout: timedelta = timedelta(seconds=1)
    connect_timeout: timedelta = timedelta(seconds=0.5)


def parse_redis_url(url: str, **defaults: timedelta) -> RedisUrl:
    """Read a URL.

    Args:
        url: As above.
        defaults: What holds for the `RedisUrl`'s times where the URL is silent.

    Raises:
        ValueError: Something in it is wrong; the text names the part, and has no secret.
    """
    parts = _split(url)
    sentinels = parts.scheme.endswith("+sentinel")
    credentials, _, hosts = parts.netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    service, database = _path(parts.path, sentinels=sentinels)
    return RedisUrl(
        hosts=_hosts(hosts, _SENTINEL_PORT if sentinels else _REDIS_PORT, several=sentinels),
        service=service,
        database=database,
        username=unquote(username) or None,
        password=unquote(password) or None,
        tls=parts.scheme.startswith("rediss"),
        **{**defaults, **_options(parts.query)},  # type: ignore[arg-type]  # each by its name
    )


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("not a URL") from None
    if parts.scheme not in SCHEMES or "://" not in url:
        raise ValueError(f"not a URL that begins with {' or '.join(f'{scheme}://' for scheme in SCHEMES)}")
    if parts.fragment or "#" in url:
        raise ValueError("a # in a user or password is written as %23")
    if "@" in parts.path or "@" in parts.query:
        raise ValueError("a / ? or @ in a user or password is written as %2F, %3F or %40")
    return parts


def _hosts(text: str, default_port: int, *, several: bool) -> tuple[tuple[str, int], ...]:
    found = []
    for address in text.split(",") if several else [text]:
        match = _HOST.fullmatch(address)
        port = default_port if match is None or match["port"] is None else int(match["port"])
        if match is None or not 0 < port <= _LARGEST_PORT:
            raise ValueError("no host:port" + (",host:port" if several else "") + " where it should be")
        found.append((match["host"].strip("[]"), port))
    return tuple(found)


def _path(path: str, *, sentinels: bool) -> tuple[str | None, int]:
    steps = path.removeprefix("/").removesuffix("/").split("/") if path.strip("/") else []
    service = None
    if sentinels:
        if not steps:
            raise ValueError("names no service: redis+sentinel://host:26379/service")
        service = unquote(steps.pop(0))
    if len(steps) > 1 or not all(step.isascii() and step.isdigit() for step in steps):
        raise ValueError("the database is a number, such as /0")
    return service, int(steps[0]) if steps else 0


def _options(query: str) -> Mapping[str, object]:
    return {name: _option(name, value) for name, value in parameters(query, _OPTIONS).items()}


def _option(name: str, value: str) -> object:
    if name in _SECONDS:
        return seconds_between(name, value, _SECONDS[name])
    if name in _SWITCHES:
        if value not in {"on", "off"}:
            raise ValueError(f"{name} is on or off")
        return value == "on"
    if name in _FILES and not Path(value).is_file():
        raise ValueError(f"{name}: there is no file {value!r}")
    return value
