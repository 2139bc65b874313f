"""Which message brokers there are, by the schemes of their URLs."""

from typing import Final

from common.clock import Clock
from common.driver_table import Driver, Drivers
from common.driver_url import DriverUrl
from common.messaging.port import Broker

# RocketMQ's clients take half a second to import, which only their users pay.
BROKERS: Final = Drivers[Broker](
    {
        "embedded": Driver(
            "common.messaging.embedded.url:EmbeddedUrl", "common.messaging.embedded.broker:EmbeddedBroker"
        ),
        "rocketmq": Driver(
            "common.messaging.rocketmq.proxy.url:RocketmqUrl", "common.messaging.rocketmq.proxy.broker:RocketmqBroker"
        ),
        "rocketmq-native": Driver(
            "common.messaging.rocketmq.native.url:NativeUrl", "common.messaging.rocketmq.native.broker:open_native"
        ),
    }
)


def open_broker(url: str | DriverUrl, *, topic_prefix: str, clock: Clock) -> Broker:
    """Make the broker that `url` names. Nothing is connected before it is used or started.

    Args:
        url: One of `BROKERS`.
        topic_prefix: Put before each topic, so that environments can share one broker. May be empty.
        clock: Tells when a delayed message is due.

    Raises:
        ValueError: The URL is wrong; the text says what is allowed, and has no secret.
    """
    return BROKERS.open(url, topic_prefix=topic_prefix, clock=clock)
