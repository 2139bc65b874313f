"""What can be said in the URL of a RocketMQ cluster, for the native client.

`rocketmq-native://nameserver:9876`, several as `rocketmq-native://host:9876,host:9876`, then `?name=value&…`.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from common.addresses import split_address
from common.url_options import read_options, split_without_user

SCHEME: Final = "rocketmq-native"
ALLOWED_URL: Final = "rocketmq-native://nameserver:9876"

_LEAST_TIMEOUT: Final = timedelta(milliseconds=100)


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeOptions:
    """The parameters of the URL; each field is one, times are in seconds there (`retry_after=0.5`).

    Attributes:
        handlers: How many messages of one subscription are handled at once in this process.
        tries: How often a message is tried before it is a dead letter.
        retry_after: The pause after the first failed try; the next ones grow as RocketMQ's delay levels do. The broker
            knows nothing shorter than a second.
        timeout: How long the broker may take to answer one try of sending a message; the library tries five times.
        look_every: How often is looked whether the brokers still know this process.
        log_folder: Where the native library writes its log, in `logs/rocketmq-cpp`. Empty: it writes none.
    """

    handlers: int = 8
    tries: int = 16
    retry_after: timedelta = timedelta(seconds=1)
    timeout: timedelta = timedelta(seconds=1.5)
    look_every: timedelta = timedelta(seconds=2)
    log_folder: str = ""


def parse_url(url: str) -> tuple[tuple[str, ...], NativeOptions]:
    """Read the URL: the name servers' addresses, and the options.

    Raises:
        ValueError: It is wrong; the text says what is allowed.
    """
    parts = split_without_user(url, SCHEME, ALLOWED_URL)
    nameservers = tuple(parts.netloc.split(","))
    for nameserver in nameservers:
        split_address(nameserver)
    options = read_options(parts.query, NativeOptions())
    _check(options)
    return nameservers, options


def _check(options: NativeOptions) -> None:
    for name, value in (("handlers", options.handlers), ("tries", options.tries)):
        if value < 1:
            raise ValueError(f"{name}={value} is wrong; allowed is a whole number from 1")
    if options.timeout < _LEAST_TIMEOUT:
        raise ValueError(
            f"timeout={options.timeout.total_seconds():g} is wrong; allowed is a number of seconds from 0.1"
        )
    if not options.look_every:
        raise ValueError("look_every=0 is wrong; allowed is a number of seconds above 0")
