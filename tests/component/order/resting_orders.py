"""Orders in each state in which they can rest."""

from collections.abc import Callable
from typing import Final

import grpc
import pytest

from reback.order.v1 import order_pb2 as pb
from tests.support.services import Services

Make = Callable[[Services], pb.Order]


def unpaid(services: Services) -> pb.Order:
    return services.create(services.new_user(), {services.new_sku(): 2})


def paid(services: Services) -> pb.Order:
    return services.pay(unpaid(services)).order


def finished(services: Services) -> pb.Order:
    return services.order.FinishOrder(pb.FinishOrderRequest(order_sn=paid(services).order_sn))


def cancelled(services: Services) -> pb.Order:
    return cancel(services, unpaid(services))


def refunded(services: Services) -> pb.Order:
    return services.order.RefundOrder(pb.RefundOrderRequest(order_sn=paid(services).order_sn, reason="broken"))


def failed(services: Services) -> pb.Order:
    """An order that inventory refused."""
    user = services.new_user()
    with pytest.raises(grpc.RpcError, match="available"):
        services.create(user, {services.new_sku(0): 1})
    return services.orders_of(user)[0]


def cancel(services: Services, order: pb.Order, reason: str = "") -> pb.Order:
    request = pb.CancelOrderRequest(user_id=order.user_id, order_sn=order.order_sn, reason=reason)
    return services.order.CancelOrder(request)


def refund(services: Services, order: pb.Order, reason: str = "") -> pb.Order:
    return services.order.RefundOrder(pb.RefundOrderRequest(order_sn=order.order_sn, reason=reason))


def finish(services: Services, order: pb.Order) -> pb.Order:
    return services.order.FinishOrder(pb.FinishOrderRequest(order_sn=order.order_sn))


AT_REST: Final[dict[str, Make]] = {
    "UNPAID": unpaid,
    "PAID": paid,
    "FINISHED": finished,
    "CLOSED": cancelled,
    "FAILED": failed,
}
"""How to make an order in each state."""
