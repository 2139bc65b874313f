"""What the brokers of both RocketMQ clients do alike."""

from collections.abc import Callable
from typing import Generic, TypeVar

from common.messaging.checkers import Checkers
from common.messaging.port import Broker, Checker, DeadLetter, Handler
from common.messaging.reachability import Reachability
from common.messaging.rocketmq.topology import Send, Subscription, Topology

C = TypeVar("C")


class BaseBroker(Broker, Generic[C]):
    """Keeps the consumers (`C`) and checkers until the start, and reaches the dead letters.

    Args:
        topology: Names topics and groups.
        checkers: Answer check-backs.
        send: Sends a message.
        reachability: Knows whether RocketMQ can be reached.
    """

    def __init__(self, topology: Topology, checkers: Checkers, send: Send, reachability: Reachability) -> None:
        self._topology = topology
        self._checkers = checkers
        self._send = send
        self._reachability = reachability
        self._consumers: dict[tuple[str, str], C] = {}
        self._started = False

    def answer_check_backs(self, topic: str, checker: Checker) -> None:
        self._not_started()
        self._checkers.add(topic, checker)

    def on_reachable(self, listener: Callable[[bool], None]) -> None:
        self._reachability.add_listener(listener)

    def dead_letters(self, topic: str, group: str, limit: int = 100) -> list[DeadLetter]:
        return self._topology.dead_letters(topic, group, limit)

    def replay(self, topic: str, group: str, dead_letter_id: str) -> None:
        self._topology.replay(topic, group, dead_letter_id, self._send)

    def _new_subscription(self, topic: str, group: str, handler: Handler) -> Subscription:
        """The subscription of a group that has no handler yet.

        Raises:
            RuntimeError: The broker is started already.
            ValueError: The group has a handler.
        """
        self._not_started()
        if (topic, group) in self._consumers:
            raise ValueError(f"{topic!r} has a handler for {group!r} already")
        return self._topology.subscription(topic, group, handler)

    def _not_started(self) -> None:
        if self._started:
            raise RuntimeError("started already")

    def _full_topics(self) -> list[str]:
        """The topics with handlers or checkers."""
        topics = {topic for topic, _ in self._consumers} | set(self._checkers.topics)
        return sorted(map(self._topology.full_topic, topics))

    def _ensure_dead_letter_topics(self) -> None:
        for topic, group in self._consumers:
            self._topology.ensure_dead_letter_topic(self._topology.consumer_group(topic, group))
