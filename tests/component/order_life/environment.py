"""Where worlds have their databases: each in a folder of its own, or one after the other in those on a server."""

import itertools
import shutil
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

import peewee

from common.database import Database
from inventory_srv import bootstrap as inventory_bootstrap
from inventory_srv.adapters.models import TABLES as INVENTORY_TABLES
from order_srv import bootstrap as order_bootstrap
from order_srv.adapters.goods_repository import GoodsRepository
from order_srv.adapters.models import TABLES as ORDER_TABLES
from order_srv.adapters.models import GoodsRow
from order_srv.domain.pricing import Goods
from order_srv.use_cases.price_book import PriceBook
from tests.support.databases import url_of
from tests.support.manual_clock import ManualClock

PRICES: Final = {"tea": 250, "cup": 900}
"""The price book, in cents."""
CREATING_GRACE: Final = timedelta(seconds=60)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Urls(NamedTuple):
    inventory: str
    order: str


class Ground:
    """Databases for worlds to start from: their tables and the price book.

    Args:
        folder: An empty one, whose databases are on some engine (`tests.support.databases`).
        statement: SQL that changes the order service's tables.
    """

    def __init__(self, folder: Path, *, statement: str = "") -> None:
        self._folder = folder
        self._template = folder / "template"
        self._numbers = itertools.count(1)
        self._template.mkdir()
        self._on_server = not url_of(folder, "order").startswith("sqlite:")
        _prepare(self._urls(self._template), statement)

    @contextmanager
    def fresh(self) -> Iterator[Urls]:
        """Databases as they were made, for one world."""
        if self._on_server:
            self._clear()
            yield self._urls(self._template)
            return
        own = self._folder / str(next(self._numbers))
        shutil.copytree(self._template, own)
        try:
            yield self._urls(own)
        finally:
            shutil.rmtree(own)

    def _urls(self, folder: Path) -> Urls:
        where = self._folder if self._on_server else folder
        return Urls(url_of(where, "inventory"), url_of(where, "order"))

    def _clear(self) -> None:
        urls = self._urls(self._template)
        _empty(urls.inventory, INVENTORY_TABLES)
        _empty(urls.order, [each for each in ORDER_TABLES if each is not GoodsRow])


def _empty(url: str, tables: Sequence[type[peewee.Model]]) -> None:
    with closing(Database(url)) as database:
        database.write(lambda: [database.run(each.delete()) for each in tables])


def _prepare(urls: Urls, statement: str) -> None:
    with closing(Database(urls.inventory)) as inventory, closing(Database(urls.order)) as order:
        inventory.migrate(inventory_bootstrap.MIGRATIONS)
        order.migrate(order_bootstrap.MIGRATIONS)
        book = PriceBook(goods=GoodsRepository(order), clock=ManualClock())
        for sku, price_cents in PRICES.items():
            book.put(Goods(sku, sku, "", price_cents, "EUR", on_sale=True, create_time=_EPOCH, update_time=_EPOCH))
        if statement:
            order.write(lambda: order.execute(statement))
