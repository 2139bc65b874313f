"""What can be said in the URL of a RocketMQ cluster, for the official client.

`rocketmq://host:8081`, several proxies by their IPv4 addresses, `rocketmq://10.0.0.1:8081,10.0.0.2:8081`, then
`?name=value&…`. Behind a name the client finds all its addresses by itself.
"""

from dataclasses import dataclass
from datetime import timedelta
from ipaddress import IPv4Address
from typing import Final

from common.addresses import split_address
from common.url_options import read_options, split_without_user

SCHEME: Final = "rocketmq"
ALLOWED_URL: Final = "rocketmq://host:8081"

_NAMESERVER_PORT: Final = 9876
_LEAST_LEASE: Final = timedelta(seconds=10)  # the proxy's own limits
_LONGEST_DELAY: Final = timedelta(days=1, minutes=-1)  # the proxy's is a day, and ours is rounded up on the way
_MOST_TRIES: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class RocketmqOptions:
    """The parameters of the URL; each field is one, times are in seconds there (`retry_after=0.5`).

    Attributes:
        nameserver: `host:port` of the name server, which dead letters are looked up by. Empty: port 9876 of the first
            proxy's host.
        handlers: How many messages of one subscription are handled at once in this process.
        lease: How long a message belongs to the process that took it, at least 10. Renewed while the handler runs; when
            the process died, another one takes the message after that time.
        tries: How often a message is tried before it is a dead letter, at most 16: a broker gives up after 17.
        retry_after: The pause after the first failed try; the next ones grow as RocketMQ's delay levels do.
        longest_delay: How long the broker holds a delayed message in one go, less than a day; longer delays travel
            in hops. Well below a day, because the proxy reckons by a clock of its own.
        timeout: How long the proxy may take to answer.
        look_every: How often is looked whether the proxy still knows this process.
    """

    nameserver: str = ""
    handlers: int = 32
    lease: timedelta = _LEAST_LEASE
    tries: int = _MOST_TRIES
    retry_after: timedelta = timedelta(seconds=1)
    longest_delay: timedelta = timedelta(hours=23)
    timeout: timedelta = timedelta(seconds=3)
    look_every: timedelta = timedelta(seconds=2)


def parse_url(url: str) -> tuple[tuple[str, ...], RocketmqOptions]:
    """Read the URL: the proxies' addresses, and the options.

    Raises:
        ValueError: It is wrong; the text says what is allowed.
    """
    parts = split_without_user(url, SCHEME, ALLOWED_URL)
    proxies = tuple(parts.netloc.split(","))
    for proxy in proxies:
        _check_proxy(proxy, alone=len(proxies) == 1)
    defaults = RocketmqOptions(nameserver=f"{split_address(proxies[0])[0]}:{_NAMESERVER_PORT}")
    options = read_options(parts.query, defaults, at_least_one=("handlers",), above_zero=("look_every",))
    split_address(options.nameserver)
    _check(options)
    return proxies, options


def _check_proxy(proxy: str, *, alone: bool) -> None:
    host = split_address(proxy)[0]
    if host.startswith("["):
        raise ValueError(f"{proxy} is an IPv6 address, which RocketMQ's client can't take; give it a name")
    if not alone and not _is_ipv4(host):
        raise ValueError(f"{proxy!r} is no IPv4 address, and of several proxies RocketMQ's client takes nothing else")


def _is_ipv4(host: str) -> bool:
    try:
        IPv4Address(host)
    except ValueError:
        return False
    return True


def _check(options: RocketmqOptions) -> None:
    if not 1 <= options.tries <= _MOST_TRIES:
        raise ValueError(f"tries={options.tries} is wrong; allowed is a whole number from 1 to {_MOST_TRIES}")
    if options.lease < _LEAST_LEASE:
        raise ValueError(f"lease={options.lease.total_seconds():g} is wrong; the proxy allows no less than 10 seconds")
    if not timedelta(seconds=1) <= options.longest_delay <= _LONGEST_DELAY:
        raise ValueError(
            f"longest_delay={options.longest_delay.total_seconds():g} is wrong; allowed are 1 to 86340 seconds"
        )
    if options.timeout < timedelta(seconds=1):
        raise ValueError(f"timeout={options.timeout.total_seconds():g} is wrong; allowed is a number of seconds from 1")
