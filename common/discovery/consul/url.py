"""What the URL of a Consul agent says.

    consul://[token@]host[:8500]
    consul+https://…                 by TLS

with `?name=value&…` for what `_OPTIONS` names. What is not a plain letter, digit or dash in a token is written as %40.
No text made here quotes the URL: it has the token.
"""

import re
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit

from common.url_options import parameters, seconds_between

SCHEMES: Final = ("consul", "consul+https")

ALLOWED_URL: Final = "consul://[token@]host:8500 (consul+https: by TLS)"

_PORT: Final = 8500
_LARGEST_PORT: Final = 65_535

_HOST: Final = re.compile(r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:(?P<port>\d{1,5}))?")

_TOKEN: Final = re.compile(r"[!-~]+")  # what an HTTP header takes, which would quote any other in its error

_SECONDS: Final = {
    "interval": (0.1, 300.0),
    "check_timeout": (0.1, 60.0),
    "deregister_after": (60.0, 30 * 86_400.0),  # Consul takes less for a minute
    "timeout": (0.1, 60.0),
    "wait": (0.5, 600.0),
}
_TEXTS: Final = ("token", "dc")
_FILES: Final = ("tls_ca", "tls_cert", "tls_key")
_OPTIONS: Final = (*_SECONDS, *_TEXTS, *_FILES)


@dataclass(frozen=True, slots=True)
class ConsulUrl:
    """Where a Consul agent is, and how it is used.

    Attributes:
        host, port: Of its HTTP interface; an IPv6 host has no brackets.
        tls: Whether to speak TLS.
        token: Of its access control; None: none.
        dc: The datacenter in which others are looked for; None: the agent's own.
        interval: The pause between two checks of an instance; 2 s.
        check_timeout: How long an instance may take to answer its check; 1 s.
        deregister_after: For how long an instance may fail its check before Consul forgets it; 1 minute, its least.
        timeout: How long the agent may take to answer; 2 s.
        wait: How long the agent holds a question until something changes; 5 s.
        tls_ca, tls_cert, tls_key: Files: who is trusted (None: whom the machine trusts), and who we are.
    """

    host: str
    port: int = _PORT
    tls: bool = False
    token: str | None = field(default=None, repr=False)
    dc: str | None = None
    interval: timedelta = timedelta(seconds=2)
    check_timeout: timedelta = timedelta(seconds=1)
    deregister_after: timedelta = timedelta(minutes=1)
    timeout: timedelta = timedelta(seconds=2)
    wait: timedelta = timedelta(seconds=5)
    tls_ca: str | None = None
    tls_cert: str | None = None
    tls_key: str | None = None


def parse_consul_url(url: str) -> ConsulUrl:
    """Read a URL.

    Raises:
        ValueError: Something in it is wrong; the text names the part, and has no secret.
    """
    parts = _split(url)
    credentials, _, address = parts.netloc.rpartition("@")
    token = unquote(credentials.removeprefix(":"))  # an empty user with a password is a token too
    host, port = _address(address)
    options = _options(parts.query)
    if token:
        if "token" in options:
            raise ValueError("the token stands twice")
        options["token"] = token
    if not _TOKEN.fullmatch(str(options.get("token", "-"))):
        raise ValueError("a token has no spaces, control characters or letters beyond ASCII")
    if ("tls_cert" in options) != ("tls_key" in options):
        raise ValueError("tls_cert and tls_key stand together")
    return ConsulUrl(
        host=host,
        port=port,
        tls=parts.scheme == "consul+https",
        **options,  # type: ignore[arg-type]  # each by its name
    )


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError("not a URL") from None
    if parts.scheme not in SCHEMES or "://" not in url:
        raise ValueError(f"not a URL that begins with {' or '.join(f'{scheme}://' for scheme in SCHEMES)}")
    if parts.fragment or "#" in url:
        raise ValueError("a # in a token is written as %23")
    if "@" in parts.path or "@" in parts.query:
        raise ValueError("a / ? or @ in a token is written as %2F, %3F or %40")
    if parts.path.strip("/"):
        raise ValueError("there is no path after the host")
    return parts


def _address(text: str) -> tuple[str, int]:
    match = _HOST.fullmatch(text)
    port = _PORT if match is None or match["port"] is None else int(match["port"])
    if match is None or not 0 < port <= _LARGEST_PORT:
        raise ValueError("no host:port where it should be")
    return match["host"].strip("[]"), port


def _options(query: str) -> dict[str, object]:
    return {name: _option(name, value) for name, value in parameters(query, _OPTIONS).items()}


def _option(name: str, value: str) -> object:
    if name in _SECONDS:
        return seconds_between(name, value, _SECONDS[name])
    if not value:
        raise ValueError(f"{name} is empty")
    if name in _FILES and not Path(value).is_file():
        raise ValueError(f"{name}: there is no file {value!r}")
    return value
