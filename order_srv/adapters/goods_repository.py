"""The price book in the database. Deleted entries stay there, for the orders that bought them."""

from collections.abc import Collection
from datetime import datetime
from functools import cache
from typing import Any

import peewee

from common.database import Database, from_micros, marks, padded
from order_srv.adapters.models import GoodsRow
from order_srv.adapters.rows import to_goods
from order_srv.domain.pricing import Goods


class GoodsRepository:
    """The price book."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, goods: Goods) -> Goods:
        """Create or replace an entry, or bring a deleted one back; what it is now."""

        def work() -> Goods:
            values = {
                "name": goods.name,
                "image_url": goods.image_url,
                "price_cents": goods.price_cents,
                "currency": goods.currency,
                "on_sale": goods.on_sale,
                "delete_time": None,
                "update_time": goods.update_time,
            }
            run, here = self._database.run, GoodsRow.sku == goods.sku
            if not run(GoodsRow.update(**values).where(here)):
                run(GoodsRow.insert(sku=goods.sku, add_time=goods.create_time, **values))
            return to_goods(self._database.select(GoodsRow.select().where(here))[0])

        # Of two who create one entry the second finds it when it tries again.
        return self._database.write(work, repeat_on=peewee.IntegrityError)

    def find(self, skus: Collection[str]) -> dict[str, Goods]:
        """The entries of these skus; those that are not in the book are left out."""
        if not skus:
            return {}
        here = padded(sorted(skus))
        with self._database.reading():
            return {row[0]: _to_goods(row) for row in self._database.execute(_found(len(here)), here).fetchall()}

    def page(self, after: str | None, limit: int) -> list[Goods]:
        """Up to `limit` entries by sku, those behind `after`."""
        with self._database.reading():
            page = GoodsRow.select().where(GoodsRow.delete_time.is_null())
            if after is not None:
                page = page.where(GoodsRow.sku > after)
            return [to_goods(row) for row in self._database.select(page.order_by(GoodsRow.sku).limit(limit))]

    def delete(self, sku: str, now: datetime) -> None:
        """Take an entry out of the book; one that is not there is passed over."""

        def work() -> None:
            there = (GoodsRow.sku == sku) & GoodsRow.delete_time.is_null()
            self._database.run(GoodsRow.update(delete_time=now, update_time=now).where(there))

        self._database.write(work)


@cache
def _found(skus: int) -> str:
    # Every order passes here: a query builder would take longer than the engine does.
    columns = "sku, name, image_url, price_cents, currency, on_sale, add_time, update_time"
    return f"SELECT {columns} FROM goods WHERE sku IN ({marks(skus)}) AND delete_time IS NULL"  # noqa: S608


def _to_goods(row: tuple[Any, ...]) -> Goods:
    sku, name, image_url, price_cents, currency, on_sale, add_time, update_time = row
    times = from_micros(add_time), from_micros(update_time)
    return Goods(sku, name, image_url, price_cents, currency, bool(on_sale), *times)
