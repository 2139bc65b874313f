"""What the URL of a RocketMQ cluster says, for the official client.

`rocketmq://host:8081`, several proxies by their IPv4 addresses, `rocketmq://10.0.0.1:8081,10.0.0.2:8081`. Behind a name
the client finds all its addresses by itself.
"""

from datetime import timedelta
from ipaddress import IPv4Address
from typing import Annotated, Any, ClassVar, Final

from pydantic import Field

from common.driver_url import DriverUrl, Part, UrlParts, addresses_of
from common.text_rules import Address, Seconds, WholeNumber

_NAMESERVER_PORT: Final = 9876
_LONGEST_DELAY_S: Final = 86_340  # the proxy's limit is a day, and ours is rounded up on the way


class RocketmqUrl(DriverUrl):
    """Where the proxies are, and how the cluster is used.

    Attributes:
        proxies: `host:port` of each.
    """

    form: ClassVar[str] = "rocketmq://host:8081 or rocketmq://10.0.0.1:8081,10.0.0.2:8081"
    reads: ClassVar[frozenset[Part]] = frozenset({Part.ADDRESSES})

    proxies: tuple[str, ...]
    nameserver: Annotated[str | None, Address("host:port of a name server", callable_=True)] = Field(
        None,
        description="the name server, which topics and dead letters are looked up by; by default, port 9876 of the "
        "first proxy's host",
    )
    handlers: Annotated[int, WholeNumber(1, 1024)] = Field(
        32, description="how many messages of one subscription are handled at once in this process"
    )
    lease: Annotated[timedelta, Seconds(10)] = Field(
        timedelta(seconds=10),
        description="how long a message belongs to the process that took it; renewed while the handler runs, so that "
        "another process takes it this long after the first one died",
    )
    # A broker gives up after 17.
    tries: Annotated[int, WholeNumber(1, 16)] = Field(
        16, description="how often a message is tried before it is a dead letter"
    )
    retry_after: Annotated[timedelta, Seconds()] = Field(
        timedelta(seconds=1),
        description="the pause after the first failed try; the next ones grow as RocketMQ's delay levels do, which "
        "adds about 2 s",
    )
    longest_delay: Annotated[timedelta, Seconds(1, _LONGEST_DELAY_S)] = Field(
        timedelta(hours=23),
        description="how long the broker holds a delayed message in one go; longer delays travel in hops. Well below "
        "a day, because the proxy goes by a clock of its own",
    )
    timeout: Annotated[timedelta, Seconds(1, 3600)] = Field(
        timedelta(seconds=3), description="how long the proxy may take to answer; the client tries three times"
    )
    probe_every: Annotated[timedelta, Seconds(0, 3600, above=True)] = Field(
        timedelta(seconds=2), description="the pause between two checks that the proxy still knows this process"
    )

    @property
    def nameserver_address(self) -> str:
        """`host:port` of the name server."""
        return self.nameserver or f"{self.proxies[0].rpartition(':')[0]}:{_NAMESERVER_PORT}"

    @classmethod
    def values_of(cls, parts: UrlParts) -> dict[str, Any]:
        addresses = addresses_of(parts)
        if any(host.startswith("[") for host, _ in addresses):
            raise ValueError("its host is an IPv6 address, which RocketMQ's client can't take; give it a name")
        if len(addresses) > 1 and not all(_is_ipv4(host) for host, _ in addresses):
            raise ValueError("of several proxies RocketMQ's client takes IPv4 addresses alone")
        return {"proxies": tuple(f"{host}:{port}" for host, port in addresses)}


def _is_ipv4(host: str) -> bool:
    try:
        IPv4Address(host)
    except ValueError:
        return False
    return True
