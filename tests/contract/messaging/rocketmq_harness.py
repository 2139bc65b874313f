"""The contract suite on RocketMQ: each test with topics of its own on a cluster that all tests share."""

from dataclasses import dataclass, field
from uuid import uuid4

from common.messaging.port import Broker, Checker, Handler
from tests.contract.messaging.harness import Harness
from tests.support.rocketmq_topics import Topics


@dataclass
class RocketmqHarness(Harness):
    """The official client.

    Attributes:
        proxy: `rocketmq://host:port`.
        nameserver: `host:port`.
    """

    proxy: str = ""
    nameserver: str = ""
    _kinds: dict[str, str] = field(default_factory=dict)
    _made: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.retry_pauses = (0.05, 0.25)  # and about 3 s, because RocketMQ knows whole seconds and looks each second
        self.take_over_after = 10.0  # the proxy allows no shorter lease
        self._topics = Topics(self.nameserver)

    def url(self) -> str:
        return f"{self.proxy}?nameserver={self.nameserver}&tries={self.tries}&retry_after=0.05&handlers={self.handlers}"

    def restart(self) -> None:
        """The cluster is everybody's: only its clients are closed. Tests that kill RocketMQ have one of their own."""

    def transaction_topic(self) -> str:
        return self._new_topic("transactions", "TRANSACTION")

    def topic(self) -> str:
        return self._new_topic("messages", "DELAY")

    def started(
        self,
        *,
        handlers: dict[tuple[str, str], Handler] | None = None,
        checkers: dict[str, Checker] | None = None,
    ) -> Broker:
        for topic, _ in handlers or {}:
            self._make(topic)  # with the prefix of now, which may be another environment's
        return super().started(handlers=handlers, checkers=checkers)

    def end(self) -> None:
        super().end()
        for topic in self._made:
            self._topics.delete(topic)

    def _new_topic(self, name: str, kind: str) -> str:
        topic = f"{name}-{uuid4().hex[:8]}"
        self._kinds[topic] = kind
        self._make(topic)
        return topic

    def _make(self, topic: str) -> None:
        if self.prefix + topic in self._made:
            return
        self._topics.make(self.prefix + topic, self._kinds[topic])
        self._made.add(self.prefix + topic)
