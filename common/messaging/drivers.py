"""Picks the messaging driver that a URL names."""

from urllib.parse import urlsplit

from common.clock import Clock
from common.messaging.embedded.broker import EmbeddedBroker
from common.messaging.embedded.url import ALLOWED_URL, parse_url
from common.messaging.port import Broker
from common.messaging.rocketmq.native.url import ALLOWED_URL as ALLOWED_NATIVE_URL
from common.messaging.rocketmq.proxy.url import ALLOWED_URL as ALLOWED_ROCKETMQ_URL
from common.messaging.rocketmq.proxy.url import parse_url as parse_rocketmq_url


def open_broker(url: str, *, topic_prefix: str, clock: Clock) -> Broker:
    """Make the broker that `url` names. Nothing is connected before it is used or started.

    Args:
        url: `embedded:///relative.db` or `embedded:////absolute.db`, with the parameters of `EmbeddedOptions`; or
            `rocketmq://host:8081`, with those of `RocketmqOptions`; or `rocketmq-native://nameserver:9876`, with those
            of `NativeOptions`.
        topic_prefix: Put before each topic, so that environments can share one broker. May be empty.
        clock: Tells when a delayed message is due.

    Raises:
        ValueError: The URL is wrong; the text says what is allowed.
    """
    match urlsplit(url).scheme:
        case "embedded":
            path, options = parse_url(url)
            return EmbeddedBroker(path, options, topic_prefix=topic_prefix, clock=clock)
        case "rocketmq":
            return _rocketmq(url, topic_prefix, clock)
        case "rocketmq-native":
            return _rocketmq_native(url, topic_prefix, clock)
        case scheme:
            allowed = f"{ALLOWED_URL}, {ALLOWED_ROCKETMQ_URL} and {ALLOWED_NATIVE_URL}"
            raise ValueError(f"unknown kind of broker {scheme!r}; allowed are {allowed}")


def _rocketmq(url: str, topic_prefix: str, clock: Clock) -> Broker:
    from common.messaging.rocketmq.proxy.broker import RocketmqBroker  # noqa: PLC0415 - half a second that only its users spend

    proxies, options = parse_rocketmq_url(url)
    return RocketmqBroker(proxies, options, topic_prefix=topic_prefix, clock=clock)


def _rocketmq_native(url: str, topic_prefix: str, clock: Clock) -> Broker:
    from common.messaging.rocketmq.native.broker import open_rocketmq_native  # noqa: PLC0415 - as above

    return open_rocketmq_native(url, topic_prefix=topic_prefix, clock=clock)
