"""A user's cart, as short as tests want it."""

from reback.order.v1 import order_pb2 as pb
from tests.support.services import Services


def put(services: Services, user: int, sku: str, quantity: int, *, selected: bool = True) -> pb.CartItem:
    request = pb.PutCartItemRequest(user_id=user, sku=sku, quantity=quantity, selected=selected)
    return services.order.PutCartItem(request)


def cart(services: Services, user: int) -> list[tuple[str, int, bool]]:
    """(sku, quantity, selected) of every item."""
    items = services.order.ListCartItems(pb.ListCartItemsRequest(user_id=user, page_size=1000)).items
    return [(item.sku, item.quantity, item.selected) for item in items]
