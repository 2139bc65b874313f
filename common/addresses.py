"""Where a server can be reached: `host:port`."""

import re
import socket
from typing import Final

_ADDRESS: Final = re.compile(
    r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]+)?\])(?::(?P<port>0|[1-9][0-9]{0,4}))?"
)

_LARGEST_PORT: Final = 65_535

# All addresses of this machine, and an address that nobody has (RFC 5737, RFC 3849): the way there is the way out.
_WAY_OUT: Final = {
    "0.0.0.0": (socket.AF_INET, "192.0.2.1"),  # noqa: S104 named, not listened on
    "[::]": (socket.AF_INET6, "2001:db8::1"),
}


def split_address(address: str, default_port: int | None = None) -> tuple[str, int]:
    """Host and port of `host:port`; an IPv6 host keeps its brackets.

    Args:
        address: What to split.
        default_port: Holds where the address has none. Without it an address needs a port.

    Raises:
        ValueError: It is not one; the text quotes it.
    """
    match = _ADDRESS.fullmatch(address)
    port = match and (match["port"] or default_port)
    if match is None or port is None or int(port) > _LARGEST_PORT:
        raise ValueError(f"{address!r} is not host:port")
    return match["host"], int(port)


def split_advertised(advertise: str) -> tuple[str, int | None]:
    """Host and port of `host:port`, or of a host alone.

    Raises:
        ValueError: It is neither; the text quotes it.
    """
    try:
        host, port = split_address(advertise)
    except ValueError:
        try:
            return split_address(f"{advertise}:1")[0], None
        except ValueError:
            raise ValueError(f"{advertise!r} is neither host:port nor a host") from None
    if port == 0:
        raise ValueError(f"{advertise!r} has no port to call")
    return host, port


def advertised_address(listen: str, advertise: str = "") -> str:
    """Where others call who listens on `listen`.

    Args:
        listen: `host:port` with the port that it got.
        advertise: `host:port`, or a host alone: with the port of `listen`. Empty: `listen`; where that is all addresses
            of this machine, the one by which it reaches others.
    """
    host, port = split_address(listen)
    if not advertise:
        return f"{_own_address(host)}:{port}"
    told_host, told_port = split_advertised(advertise)
    return f"{told_host}:{told_port or port}"


def _own_address(host: str) -> str:
    if host not in _WAY_OUT:
        return host
    family, far = _WAY_OUT[host]
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((far, 9))  # sends nothing: it only picks the way
        except OSError:  # no way out: others can only be on this machine
            return "127.0.0.1" if family is socket.AF_INET else "[::1]"
        own = str(probe.getsockname()[0])
    return f"[{own}]" if family is socket.AF_INET6 else own
