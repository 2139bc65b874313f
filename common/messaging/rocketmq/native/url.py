"""What the URL of a RocketMQ cluster says, for the native client: `rocketmq-native://nameserver:9876,nameserver:9876`."""

from datetime import timedelta
from typing import Annotated, Any, ClassVar

from pydantic import Field

from common.driver_url import DriverUrl, Part, UrlParts, addresses_of
from common.messaging.rocketmq.native.library import check_library
from common.text_rules import PlainText, Seconds, WholeNumber


class NativeUrl(DriverUrl):
    """Where the name servers are, and how the cluster is used.

    Attributes:
        nameservers: `host:port` of each.
    """

    form: ClassVar[str] = "rocketmq-native://nameserver:9876 or rocketmq-native://host:9876,host:9876"
    reads: ClassVar[frozenset[Part]] = frozenset({Part.ADDRESSES})

    nameservers: tuple[str, ...]
    handlers: Annotated[int, WholeNumber(1, 1024)] = Field(
        8, description="how many messages of one subscription are handled at once in this process"
    )
    tries: Annotated[int, WholeNumber(1, 1_000_000)] = Field(
        16, description="how often a message is tried before it is a dead letter"
    )
    retry_after: Annotated[timedelta, Seconds()] = Field(
        timedelta(seconds=1),
        description="the pause after the first failed try; the next ones grow as RocketMQ's delay levels do, of which "
        "the shortest is a second",
    )
    timeout: Annotated[timedelta, Seconds(0.1, 3600)] = Field(
        timedelta(seconds=1.5),
        description="how long the broker may take to answer one try of sending a message; the library tries five times",
    )
    probe_every: Annotated[timedelta, Seconds(0, 3600, above=True)] = Field(
        timedelta(seconds=2), description="the pause between two checks that the brokers still know this process"
    )
    log_folder: Annotated[str | None, PlainText()] = Field(
        None, description="where the native library writes its log, in `logs/rocketmq-cpp`; by default, nowhere"
    )

    @classmethod
    def values_of(cls, parts: UrlParts) -> dict[str, Any]:
        return {"nameservers": tuple(f"{host}:{port}" for host, port in addresses_of(parts))}

    def check_installed(self) -> None:
        check_library()
