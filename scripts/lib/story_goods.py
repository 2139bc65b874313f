"""What the story sells: goods of its own, so that it never touches what a user sells in the same shop."""

from dataclasses import dataclass
from typing import Final

from reback.inventory.v1.inventory_pb2 import SetStockRequest, Stock
from reback.order.v1.order_pb2 import Goods, PutGoodsRequest
from scripts.lib.shop import CALL_TIMEOUT_S, Shop


@dataclass(frozen=True)
class _StoryGoods:
    sku: str
    name: str
    price_cents: int
    stock: int


_GOODS: Final = (
    _StoryGoods("story-teapot", "Teapot of the story", 450, 200),
    _StoryGoods("story-tea", "Tea of the story", 590, 150),
    _StoryGoods("story-cup", "Cup of the story", 690, 120),
    _StoryGoods("story-honey", "Honey of the story", 620, 90),
)

STORY_SKUS: Final = tuple(each.sku for each in _GOODS)
"""No goods file may have them: the story would sell a user's stock."""


def stock_up_for_story(shop: Shop) -> list[Stock]:
    """Put the story's goods into the shop, each with as many units as the story begins with; the stock of each.

    The story can be played again: what earlier ones have sold stays sold.
    """
    for each in _GOODS:
        goods = Goods(sku=each.sku, name=each.name, price_cents=each.price_cents, currency="EUR", on_sale=True)
        shop.order.PutGoods(PutGoodsRequest(goods=goods), timeout=CALL_TIMEOUT_S)
    return [
        shop.inventory.SetStock(
            SetStockRequest(sku=each.sku, quantity=each.stock, reason="the story begins"), timeout=CALL_TIMEOUT_S
        )
        for each in _GOODS
    ]
