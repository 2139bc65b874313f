"""The price book: what can be ordered, and for how much."""

from collections.abc import Sequence
from dataclasses import replace

from common import paging
from common.clock import Clock
from common.paging import Page
from order_srv.adapters.goods_repository import GoodsRepository
from order_srv.domain.errors import SkuNotFound
from order_srv.domain.pricing import Goods


class PriceBook:
    def __init__(self, *, goods: GoodsRepository, clock: Clock) -> None:
        self._goods = goods
        self._clock = clock

    def put(self, goods: Goods) -> Goods:
        """Create or replace an entry; its times are set here."""
        now = self._clock.now()
        return self._goods.put(replace(goods, create_time=now, update_time=now))

    def batch_get(self, skus: Sequence[str]) -> tuple[list[Goods], Sequence[str]]:
        """The entries of these skus in that order, as many as fit into one answer, and the skus of the rest.

        Raises:
            SkuNotFound: Some are not in the book; it names each.
        """
        found = self._goods.find(set(skus))
        missing = [sku for sku in dict.fromkeys(skus) if sku not in found]
        if missing:
            raise SkuNotFound(missing)
        goods = [found[sku] for sku in skus]
        fitting = paging.fit(goods, bytes_of)
        return goods[:fitting], skus[fitting:]

    def page(self, page_size: int, page_token: str) -> Page[Goods]:
        """A page of entries by sku, and the token of the next one."""
        size = paging.page_size(page_size)
        after = paging.decode(page_token, str)
        rows = self._goods.page(str(after[0]) if after else None, size + 1)
        return paging.paginate(rows, size, lambda goods: (goods.sku,), bytes_of)

    def delete(self, sku: str) -> None:
        """Take an entry out of the book."""
        self._goods.delete(sku, self._clock.now())


def bytes_of(goods: Goods) -> int:
    """About how many bytes an entry takes in an answer, rather more: its texts, and numbers, times and tags."""
    return sum(len(text.encode()) for text in (goods.sku, goods.name, goods.image_url)) + 100
