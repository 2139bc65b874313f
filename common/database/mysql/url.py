"""What can be said in the URL of a MySQL or MariaDB database.

`mysql://user:password@host:3306/name`, then `?name=value&…`. What is special in a URL is written as `%40` for `@` and
so on; an IPv6 host stands in brackets. No text of an error here holds the password.
"""

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

ALLOWED_URL: Final = "mysql://user:password@host:3306/name"

_OTHER_SHAPE: Final = "is of another shape; special characters of a password are written as %23 and so on"

_LONGEST_NAME: Final = 64
_LONGEST_SECONDS: Final = 3600
_TLS: Final = ("off", "required", "verify")
_BROKEN_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True, kw_only=True)
class MysqlUrl:
    """The parts of the URL, and its parameters.

    Attributes:
        host, port, user, password, name: Where the database is, who asks, and what it is called.
        connect_timeout: Seconds to reach the server and to log in.
        read_timeout, write_timeout: Seconds that the server may be silent within a statement, or take none of it.
        idle_transaction: Seconds that the server leaves a transaction open whose client does nothing: a client that was
            stopped, or whose machine is gone, holds no rows for longer.
        tls: `off`; `required`: encrypted, whoever answers; `verify`: encrypted, and the server's certificate is good
            for its host.
        tls_ca: The file of the authority that `verify` trusts; without it, those of this machine.
        tls_cert, tls_key: The files of this client's own certificate.
    """

    host: str
    port: int = 3306
    user: str
    password: str = field(default="", repr=False)
    name: str
    connect_timeout: int = 3
    read_timeout: int = 10
    write_timeout: int = 10
    idle_transaction: int = 10
    tls: str = "off"
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""

    @property
    def place(self) -> str:
        return f"{self.host}:{self.port}"

    def tls_context(self) -> ssl.SSLContext | None:
        """What to encrypt with; None: nothing is.

        Raises:
            OSError: A file can't be read.
        """
        if self.tls == "off":
            return None
        context = ssl.create_default_context(cafile=self.tls_ca or None)
        if self.tls == "required":
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.tls_cert:
            context.load_cert_chain(self.tls_cert, self.tls_key or None)
        return context


_SECONDS: Final = ("connect_timeout", "read_timeout", "write_timeout", "idle_transaction")
_PARAMETERS: Final = tuple(each.name for each in fields(MysqlUrl) if each.name in _SECONDS or each.name[:3] == "tls")


def parse_mysql_url(url: str) -> MysqlUrl:
    """Read the URL of a database on a server.

    Raises:
        ValueError: It is wrong; the text says what is allowed, and never the password.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        # A password with a bare `/` or `#` ends up here, as a port.
        raise ValueError(_OTHER_SHAPE) from None
    if parts.scheme != "mysql" or parts.fragment:
        raise ValueError(_OTHER_SHAPE)
    if not parts.hostname:
        raise ValueError("names no host")
    if not parts.username:
        raise ValueError("names no user")
    if port == 0:
        raise ValueError("port 0 is none")
    return MysqlUrl(
        host=parts.hostname,
        port=port or 3306,
        user=_plain(parts.username),
        password=_plain(parts.password or ""),
        name=_name(parts),
        **_parameters(parts.query),
    )


def _plain(text: str) -> str:
    if _BROKEN_ESCAPE.search(text):
        raise ValueError("has a % that begins no %40 or the like; a % itself is written as %25")
    return unquote(text, errors="strict")


def _name(parts: SplitResult) -> str:
    name = _plain(parts.path[1:])
    if not name or "/" in name or len(name) > _LONGEST_NAME:
        raise ValueError("names no database after the host, such as …@host:3306/name")
    return name


def _parameters(query: str) -> Mapping[str, Any]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise ValueError("what follows ? is no list of name=value&name=value") from None
    given = dict(pairs)
    if len(given) < len(pairs):
        raise ValueError("a parameter is named twice")
    unknown = [name for name in given if name not in _PARAMETERS]
    if unknown:
        raise ValueError(f"unknown parameter {unknown[0]!r}; there are {', '.join(_PARAMETERS)}")
    parameters = {name: _seconds(name, text) if name in _SECONDS else text for name, text in given.items()}
    _check_tls(given)
    return parameters


def _seconds(name: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text) <= _LONGEST_SECONDS):
        raise ValueError(f"{name}={text} is wrong; allowed is a whole number of seconds from 1 to {_LONGEST_SECONDS}")
    return int(text)


def _check_tls(given: Mapping[str, str]) -> None:
    tls = given.get("tls", "off")
    if tls not in _TLS:
        raise ValueError(f"tls={tls} is wrong; allowed is {', '.join(_TLS)}")
    if tls == "off" and any(name in given for name in ("tls_ca", "tls_cert", "tls_key")):
        raise ValueError("tls_ca, tls_cert and tls_key need tls=verify or tls=required")
    if tls == "required" and "tls_ca" in given:
        raise ValueError("tls=required checks no certificate; with tls_ca it has to be tls=verify")
    if "tls_key" in given and "tls_cert" not in given:
        raise ValueError("tls_key needs tls_cert")
