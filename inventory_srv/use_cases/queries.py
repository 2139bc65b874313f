"""Reads of stock, sales and movements. Lists use key sets: every page costs the same."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

import peewee

from common import paging
from common.batching import GroupCommit
from common.database import Database, to_micros
from common.deadline import Deadline
from common.errors import Unavailable
from common.paging import Page
from inventory_srv.adapters import rows
from inventory_srv.adapters.models import MovementRow, SaleLineRow, SaleRow, StockRow
from inventory_srv.adapters.stock_cache import StockCache
from inventory_srv.domain.errors import SaleNotFound, SkuNotFound
from inventory_srv.domain.records import Sale, SaleState, Stock, StoredMovement

_LOOKS_AT_ONCE: Final = 8  # so that one that hangs holds up nobody for long


class Queries:
    """Each read is of one moment, except stocks by their skus: those are as new as the cache promises.

    Args:
        database: Where everything is.
        cache: Where stocks may be; the stock writer must tell the same one of every change. None: they are not.
    """

    def __init__(self, database: Database, cache: StockCache | None = None) -> None:
        self._database = database
        self._cache = cache or StockCache.none()
        self._looks: GroupCommit[str, Stock | None] = GroupCommit(
            self._look, shared_errors=Unavailable, at_once=_LOOKS_AT_ONCE
        )

    def get_stock(self, sku: str, deadline: Deadline) -> Stock:
        """The stock; callers of the same moment look together.

        Raises:
            SkuNotFound: There is none.
            DeadlineExceeded: The caller no longer waits.
        """
        stock = self._looks.submit(sku, deadline)
        if stock is None:
            raise SkuNotFound([sku])
        return stock

    def batch_get_stocks(self, skus: Sequence[str]) -> list[Stock]:
        """The stocks in the order asked.

        Raises:
            SkuNotFound: Naming every unknown sku.
        """
        found = self._cache.read(list(dict.fromkeys(skus)), self._look_up)
        unknown = set(skus) - set(found)
        if unknown:
            raise SkuNotFound(unknown)
        return [found[sku] for sku in skus]

    def _look(self, skus: Sequence[str]) -> list[Stock | None]:
        found = self._cache.read(list(dict.fromkeys(skus)), self._look_up)
        return [found.get(sku) for sku in skus]

    def list_stocks(self, sku_prefix: str, page_size: int, page_token: str) -> Page[Stock]:
        """Stocks by sku ascending, code point by code point."""
        size, after = paging.page_size(page_size), paging.decode(page_token, str)
        query = StockRow.select(*rows.STOCK).order_by(StockRow.sku).limit(size + 1)
        if sku_prefix:
            query = query.where(StockRow.sku >= sku_prefix)
            end = after_prefix(sku_prefix)
            query = query if end is None else query.where(StockRow.sku < end)
        if after:
            query = query.where(StockRow.sku > after[0])
        with self._database.reading():
            stocks = [rows.to_stock(row) for row in self._rows(query)]
        return paging.paginate(stocks, size, lambda stock: (stock.sku,))

    def get_sale(self, order_sn: str) -> Sale:
        """Raises SaleNotFound."""
        sales, _ = self.batch_get_sales([order_sn])
        if not sales:
            raise SaleNotFound(order_sn)
        return sales[0]

    def batch_get_sales(self, order_sns: Sequence[str]) -> tuple[list[Sale], list[str]]:
        """Those sales that exist, in the order asked, each once, as many as fit into one answer.

        Returns:
            The sales, and the order_sns that were not looked at.
        """
        asked = list(dict.fromkeys(order_sns))
        with self._database.reading():
            sales, unread = paging.load_until_full(asked, self._sales_of, bytes_of)
        fitting = paging.fit(sales, bytes_of)
        return sales[:fitting], [*(sale.order_sn for sale in sales[fitting:]), *unread]

    def list_sales(
        self, state: SaleState | None, created_before: datetime | None, page_size: int, page_token: str
    ) -> Page[Sale]:
        """Sales, newest first."""
        size, after = paging.page_size(page_size), paging.decode(page_token, int, str)
        query = SaleRow.select(*rows.SALE).order_by(SaleRow.add_time.desc(), SaleRow.order_sn.desc()).limit(size + 1)
        if state is not None:
            query = query.where(SaleRow.state == state.value)
        if created_before is not None:
            query = query.where(SaleRow.add_time < created_before)
        if after:
            added, order_sn = peewee.Value(after[0], converter=False), after[1]
            query = query.where(SaleRow.add_time <= added)
            query = query.where((SaleRow.add_time < added) | (SaleRow.order_sn < order_sn))
        sales = self._sales(query)
        return paging.paginate(sales, size, lambda sale: (to_micros(sale.create_time), sale.order_sn), bytes_of)

    def list_movements(
        self, sku: str | None, order_sn: str | None, page_size: int, page_token: str
    ) -> Page[StoredMovement]:
        """Movements of one sku or of one order, newest first."""
        size, after = paging.page_size(page_size), paging.decode(page_token, int)
        of_subject = MovementRow.sku == sku if sku is not None else MovementRow.order_sn == order_sn
        query = MovementRow.select(*rows.MOVEMENT).where(of_subject)
        query = query.order_by(MovementRow.id.desc()).limit(size + 1)
        if after:
            query = query.where(MovementRow.id < after[0])
        with self._database.reading():
            movements = [rows.to_movement(row) for row in self._rows(query)]
        return paging.paginate(movements, size, lambda movement: (movement.id,))

    def _sales_of(self, order_sns: Sequence[str]) -> list[Sale]:
        """Those that exist, in that order."""
        found = {
            sale.order_sn: sale
            for sale in self._sales(SaleRow.select(*rows.SALE).where(SaleRow.order_sn.in_(order_sns)))
        }
        return [found[order_sn] for order_sn in order_sns if order_sn in found]

    def _look_up(self, skus: Sequence[str]) -> list[Stock]:
        with self._database.reading():
            stocks = self._rows(StockRow.select(*rows.STOCK).where(StockRow.sku.in_(sorted(skus))))
        return [rows.to_stock(row) for row in stocks]

    def _sales(self, query: Any) -> list[Sale]:
        """Sales with their lines, which never change: no later moment shows others."""
        with self._database.reading():
            sales = self._rows(query)
            if not sales:
                return []
            order_sns = [row[0] for row in sales]
            lines = self._rows(SaleLineRow.select(*rows.SALE_LINE).where(SaleLineRow.order_sn.in_(order_sns)))
        return rows.to_sales(sales, lines)

    def _rows(self, query: Any) -> list[rows.Row]:
        found: list[rows.Row] = self._database.engine.execute(query).fetchall()
        return found


def bytes_of(sale: Sale) -> int:
    """About how many bytes a sale takes in an answer, rather more: its texts, and numbers, times and tags."""
    texts = [sale.order_sn, sale.return_reason, *(line.sku for line in sale.lines)]
    return sum(len(text.encode()) for text in texts) + 16 * len(sale.lines) + 80


def after_prefix(prefix: str) -> str | None:
    """The first text that sorts after every text with this prefix; None: there is none."""
    for end in range(len(prefix), 0, -1):
        last = ord(prefix[end - 1])
        if last < _LAST_CHARACTER:
            # Between these two no text has a character.
            following = _AFTER_SURROGATES if last == _BEFORE_SURROGATES else last + 1
            return prefix[: end - 1] + chr(following)
    return None


_LAST_CHARACTER: Final = 0x10FFFF
_BEFORE_SURROGATES: Final = 0xD7FF
_AFTER_SURROGATES: Final = 0xE000
