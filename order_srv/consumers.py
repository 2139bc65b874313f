"""Door: the topic `order_timeout`."""

from typing import Final

from common.messaging.port import Broker, Delivery
from order_srv.close_order import CloseOrder
from order_srv.messages import ORDER_TIMEOUT, Timeout

GROUP: Final = "order"


def subscribe(broker: Broker, close_order: CloseOrder) -> None:
    """Let timeouts close orders."""

    def handle(delivery: Delivery) -> None:
        close_order.time_out(Timeout.from_message(delivery.message))

    broker.subscribe(ORDER_TIMEOUT, GROUP, handle)
