"""The price book in the database. Deleted entries stay there, for the orders that bought them."""

from collections.abc import Collection
from datetime import datetime

from common.database import Database
from order_srv.models import GoodsRow
from order_srv.pricing import Goods
from order_srv.rows import to_goods


class GoodsRepository:
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
            if not GoodsRow.update(**values).where(GoodsRow.sku == goods.sku).execute():
                GoodsRow.insert(sku=goods.sku, add_time=goods.create_time, **values).execute()
            return to_goods(GoodsRow.get(GoodsRow.sku == goods.sku))

        return self._database.write(work)

    def find(self, skus: Collection[str]) -> dict[str, Goods]:
        """The entries of these skus; those that are not in the book are left out."""
        with self._database.reading():
            found = GoodsRow.select().where(GoodsRow.sku.in_(list(skus)), GoodsRow.delete_time.is_null())
            return {row.sku: to_goods(row) for row in found}

    def page(self, after: str | None, limit: int) -> list[Goods]:
        """Up to `limit` entries by sku, those behind `after`."""
        with self._database.reading():
            page = GoodsRow.select().where(GoodsRow.delete_time.is_null())
            if after is not None:
                page = page.where(GoodsRow.sku > after)
            return [to_goods(row) for row in page.order_by(GoodsRow.sku).limit(limit)]

    def delete(self, sku: str, now: datetime) -> None:
        """Take an entry out of the book; one that is not there is passed over."""

        def work() -> None:
            GoodsRow.update(delete_time=now, update_time=now).where(
                GoodsRow.sku == sku, GoodsRow.delete_time.is_null()
            ).execute()

        self._database.write(work)
