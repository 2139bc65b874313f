"""Put the goods of a file into a shop, through the services' own calls."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from reback.inventory.v1.inventory_pb2 import ListStocksRequest, Stock
from reback.order.v1.order_pb2 import Goods, ListGoodsRequest
from scripts.lib.goods_file import Entry
from scripts.lib.shop import CALL_TIMEOUT_S, Shop

_AT_ONCE: Final = 16
_PAGE: Final = 1000


@dataclass(frozen=True)
class Seeded:
    """How many skus seeding added, and how many it found there and left alone."""

    put: int
    left_alone: int


def seed(shop: Shop, entries: Sequence[Entry], on_progress: Callable[[int], None] = lambda _done: None) -> Seeded:
    """Add what is missing: a price where the price book has none, stock where inventory has none.

    Existing prices and stock are left alone. It can be stopped anywhere and started again, and two may run at once:
    stock is set only where there is none.

    Args:
        shop: The shop to fill.
        entries: The goods that it should have.
        on_progress: Called after each sku with how many are done.
    """
    priced = {goods.sku for goods in all_goods(shop)}
    stocked = {stock.sku for stock in all_stocks(shop)}

    def put(entry: Entry) -> bool:
        if entry.sku not in priced:
            shop.order.PutGoods(entry.put_goods, timeout=CALL_TIMEOUT_S)
        if entry.sku not in stocked:
            shop.inventory.SetStock(entry.set_stock, timeout=CALL_TIMEOUT_S)
        return entry.sku not in priced or entry.sku not in stocked

    count = 0
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for done, was_put in enumerate(pool.map(put, entries), start=1):
            count += was_put
            on_progress(done)
    return Seeded(put=count, left_alone=len(entries) - count)


def all_goods(shop: Shop) -> Iterator[Goods]:
    """The whole price book."""
    token = ""
    while True:
        page = shop.order.ListGoods(ListGoodsRequest(page_size=_PAGE, page_token=token), timeout=CALL_TIMEOUT_S)
        yield from page.goods
        token = page.next_page_token
        if not token:
            return


def all_stocks(shop: Shop) -> Iterator[Stock]:
    """The stock of every sku."""
    token = ""
    while True:
        page = shop.inventory.ListStocks(ListStocksRequest(page_size=_PAGE, page_token=token), timeout=CALL_TIMEOUT_S)
        yield from page.stocks
        token = page.next_page_token
        if not token:
            return
