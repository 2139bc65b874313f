"""Makes topics on a RocketMQ cluster in milliseconds: what `mqadmin updateTopic` does, without a Java machine each."""

import time
from typing import Final

from common.errors import Unavailable
from common.messaging.rocketmq.remoting import connected, make_topic, queues
from tests.support.waiting import TIMEOUT_S

QUEUES: Final = 4

_DELETE_ON_BROKER: Final = 215
_DELETE_ON_NAMESERVER: Final = 216


class Topics:
    """The topics of a cluster.

    Args:
        nameserver: `host:port`.
    """

    def __init__(self, nameserver: str) -> None:
        self._nameserver = nameserver

    def make(self, topic: str, kind: str) -> None:
        """Make a topic for messages of a kind (NORMAL, DELAY, TRANSACTION), and wait until the name server knows it."""
        make_topic(self._nameserver, topic, kind, QUEUES)
        give_up = time.monotonic() + TIMEOUT_S
        while not self.has(topic):
            assert time.monotonic() < give_up, f"topic {topic} never came"
            time.sleep(0.01)

    def has(self, topic: str) -> bool:
        try:
            return bool(queues(self._nameserver, topic))
        except Unavailable:
            return False

    def delete(self, topic: str) -> None:
        for broker in {queue.broker for queue in queues(self._nameserver, topic)}:
            with connected(broker) as server:
                server.ask(_DELETE_ON_BROKER, {"topic": topic})
        with connected(self._nameserver) as server:
            server.ask(_DELETE_ON_NAMESERVER, {"topic": topic})
