"""The topics that the services use, each of the type that RocketMQ wants for it."""

import time
from collections.abc import Mapping
from typing import Final

from common.messaging.port import MessagingError
from common.messaging.rocketmq.remoting import make_topic
from order_srv.domain.messages import ORDER_REBACK, ORDER_TIMEOUT
from scripts.cluster.engines.rocketmq import has_topic
from scripts.cluster.ports import Ports
from scripts.cluster.program import CannotRun

TYPES: Final[Mapping[str, str]] = {ORDER_REBACK: "TRANSACTION", ORDER_TIMEOUT: "DELAY"}
_QUEUES: Final = 8
_WITHIN_S: Final = 60
_POLL_S: Final = 0.1


def make_topics(ports: Ports, prefix: str = "") -> None:
    """Make the topics, and wait until clients can use them. Again is harmless.

    Args:
        ports: Of the cluster.
        prefix: Of the topics' names (`…_TOPIC_PREFIX`).

    Raises:
        CannotRun: RocketMQ refused, or announced no routes in time.
    """
    try:
        _make_topics(ports, prefix)
    except MessagingError as error:
        raise CannotRun(f"can't make topics: {error}") from error


def _make_topics(ports: Ports, prefix: str) -> None:
    for name, kind in TYPES.items():
        make_topic(f"127.0.0.1:{ports.nameserver}", prefix + name, kind, _QUEUES)
    give_up = time.monotonic() + _WITHIN_S
    for name in TYPES:
        while not has_topic(ports.nameserver, ports.proxy, prefix + name):
            if time.monotonic() > give_up:
                raise CannotRun(f"RocketMQ's proxy tells no route of the topic {prefix + name}")
            time.sleep(_POLL_S)
