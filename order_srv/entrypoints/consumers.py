"""Entrypoint: the topic `order_timeout`."""

from typing import Final

from common.messaging.port import Broker, Delivery
from order_srv.domain.messages import ORDER_TIMEOUT, Timeout
from order_srv.use_cases.close_order import CloseOrder

GROUP: Final = "order"


def subscribe(broker: Broker, close_order: CloseOrder) -> None:
    """Let timeouts close orders."""

    def handle(delivery: Delivery) -> None:
        close_order.time_out(Timeout.from_message(delivery.message))

    broker.subscribe(ORDER_TIMEOUT, GROUP, handle)
