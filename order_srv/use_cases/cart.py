"""Users' carts: what they may buy next."""

from collections.abc import Sequence

from common import paging
from common.clock import Clock
from common.paging import Page
from order_srv.adapters.cart_repository import CartItem, CartRepository
from order_srv.adapters.goods_repository import GoodsRepository
from order_srv.domain.errors import SkuNotFound


class Cart:
    def __init__(self, *, carts: CartRepository, goods: GoodsRepository, clock: Clock) -> None:
        self._carts = carts
        self._goods = goods
        self._clock = clock

    def put(self, user_id: int, sku: str, quantity: int, *, selected: bool) -> CartItem:
        """Put a sku into a user's cart, or change it there.

        Raises:
            SkuNotFound: It is not in the price book.
        """
        if sku not in self._goods.find([sku]):
            raise SkuNotFound([sku])
        item = CartItem(user_id, sku, quantity, selected, self._clock.now())
        self._carts.put(item)
        return item

    def items(self, user_id: int, page_size: int, page_token: str) -> Page[CartItem]:
        """A page of a user's cart by sku, and the token of the next one."""
        size = paging.page_size(page_size)
        after = paging.decode(page_token, str)
        items = self._carts.items(user_id, str(after[0]) if after else None, size + 1)
        return paging.paginate(items, size, lambda item: (item.sku,))

    def delete(self, user_id: int, skus: Sequence[str]) -> None:
        """Take skus out of a user's cart."""
        self._carts.delete(user_id, skus)
