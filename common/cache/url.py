"""What the URL of a cache says.

local://[?expiry=5&entries=10000]
redis://…                            as common/redis/url.py describes
none://
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

from common.cache.port import EXPIRY
from common.redis.url import SCHEMES as REDIS_SCHEMES
from common.redis.url import RedisUrl, parse_redis_url
from common.url_options import read_options

SCHEMES: Final = ("local", "none", *REDIS_SCHEMES)


@dataclass(frozen=True, slots=True)
class LocalUrl:
    """How a process keeps a cache of its own.

    Attributes:
        expiry: How long an entry lives.
        entries: How many there are at most; a row of four numbers takes about 500 bytes.
    """

    expiry: timedelta = EXPIRY
    entries: int = 10_000


def parse_cache_url(url: str) -> LocalUrl | RedisUrl | None:
    """Read a URL; None: no cache.

    Raises:
        ValueError: Something in it is wrong; the text names the part, and has no secret.
    """
    parts = urlsplit(url)
    if parts.scheme in REDIS_SCHEMES:
        return parse_redis_url(url, expiry=EXPIRY)
    if parts.scheme not in SCHEMES or "://" not in url:
        raise ValueError(f"not a URL that begins with {' or '.join(f'{scheme}://' for scheme in SCHEMES)}")
    if parts.netloc or parts.path.strip("/") or parts.fragment:
        raise ValueError(f"{parts.scheme}:// has no host and no path")
    if parts.scheme == "none":
        if parts.query:
            raise ValueError("none:// takes no parameters")
        return None
    return read_options(parts.query, LocalUrl(), at_least_one=["entries"], above_zero=["expiry"])
