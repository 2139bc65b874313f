"""Picks the messaging driver that a URL names."""

from urllib.parse import urlsplit

from common.clock import Clock
from common.messaging.embedded import EmbeddedBroker
from common.messaging.embedded_options import ALLOWED_URL, parse_url
from common.messaging.port import Broker


def open_broker(url: str, *, topic_prefix: str, clock: Clock) -> Broker:
    """Make the broker that `url` names. Nothing is connected before it is used or started.

    Args:
        url: `embedded:///relative.db` or `embedded:////absolute.db`, with the parameters of `EmbeddedOptions`.
        topic_prefix: Put before each topic, so that environments can share one broker. May be empty.
        clock: Tells when a delayed message is due.

    Raises:
        ValueError: The URL is wrong; the text says what is allowed.
    """
    scheme = urlsplit(url).scheme
    if scheme != "embedded":
        raise ValueError(f"unknown kind of broker {scheme!r}; allowed is {ALLOWED_URL}")
    path, options = parse_url(url)
    return EmbeddedBroker(path, options, topic_prefix=topic_prefix, clock=clock)
