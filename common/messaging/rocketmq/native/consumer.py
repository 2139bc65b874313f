"""The native client's consumer of one subscription."""

from collections.abc import Callable
from typing import Any

from common.messaging.port import BrokerUnavailable
from common.messaging.rocketmq.native.membership import Member
from common.messaging.rocketmq.topology import Subscription


class Consumer:
    """The native consumer of a subscription.

    Args:
        client: The binding.
        subscription: Names topic and group.
        process: Called with each message; returns whether it is done with. It must not raise.
        nameservers: `host:port;host:port`.
        instance: Unique in the process: of consumers that share one, the later ones get their queues only after ten
            seconds.
        threads: How many messages are handled at once.
    """

    def __init__(
        self,
        client: Any,
        subscription: Subscription,
        process: Callable[[Any], bool],
        *,
        nameservers: str,
        instance: str,
        threads: int,
    ) -> None:
        self._client = client
        self._process = process
        self.member = Member(subscription.full_topic, subscription.consumer_group, consumes=True, instance=instance)
        self._consumer = client.PushConsumer(subscription.consumer_group)
        self._consumer.set_name_server_address(nameservers)
        self._consumer.set_instance_name(instance)
        self._consumer.set_thread_count(threads)
        self._consumer.subscribe(subscription.full_topic, self._on_message)

    def start(self) -> None:
        """Begin to receive.

        Raises:
            BrokerUnavailable: The library could not start.
        """
        try:
            self._consumer.start()
        except Exception as error:
            raise BrokerUnavailable(f"RocketMQ: {error}") from error

    def close(self) -> None:
        """Receive no more, wait for running handlers, report to the broker how far the group has come."""
        self._consumer.shutdown()

    def _on_message(self, received: Any) -> Any:
        statuses = self._client.ConsumeStatus
        return statuses.CONSUME_SUCCESS if self._process(received) else statuses.RECONSUME_LATER
