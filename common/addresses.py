"""Where a server can be reached: `host:port`."""

import re
from typing import Final

_ADDRESS: Final = re.compile(r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+(%\w+)?\]):(?P<port>\d{1,5})")

_LARGEST_PORT: Final = 65_535


def split_address(address: str) -> tuple[str, int]:
    """Host and port of `host:port`; an IPv6 host keeps its brackets.

    Raises:
        ValueError: It is not one; the text quotes it.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None or int(match["port"]) > _LARGEST_PORT:
        raise ValueError(f"{address!r} is not host:port")
    return match["host"], int(match["port"])
