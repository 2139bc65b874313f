"""Users' carts in the database."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache

import peewee

from common.database import Database
from order_srv.adapters.models import CartItemRow


@dataclass(frozen=True, slots=True)
class CartItem:
    """So many units of one sku in a user's cart; a `selected` one is bought by CreateOrder without lines."""

    user_id: int
    sku: str
    quantity: int
    selected: bool
    update_time: datetime


class CartRepository:
    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, item: CartItem) -> None:
        """Put an item into the cart, or change it there."""

        def work() -> None:
            values = {"quantity": item.quantity, "selected": item.selected, "update_time": item.update_time}
            here = (CartItemRow.user_id == item.user_id) & (CartItemRow.sku == item.sku)
            if not self._database.run(CartItemRow.update(**values).where(here)):
                key = {"user_id": item.user_id, "sku": item.sku, "add_time": item.update_time}
                self._database.run(CartItemRow.insert(**key, **values))

        # Of two who put one item the second finds it when it tries again.
        self._database.write(work, repeat_on=peewee.IntegrityError)

    def items(self, user_id: int, after: str | None, limit: int) -> list[CartItem]:
        """Up to `limit` items of a user by sku, those behind `after`."""
        with self._database.reading():
            page = CartItemRow.select().where(CartItemRow.user_id == user_id)
            if after is not None:
                page = page.where(CartItemRow.sku > after)
            return [_to_item(row) for row in self._database.select(page.order_by(CartItemRow.sku).limit(limit))]

    def selected(self, user_ids: Collection[int], limit: int) -> dict[int, list[tuple[str, int]]]:
        """Sku and quantity of up to `limit` selected items of each user; users without any are left out."""
        if not user_ids:
            return {}
        selected: dict[int, list[tuple[str, int]]] = {}
        with self._database.reading():
            for user_id, sku, quantity in self._database.execute(
                _selected(len(user_ids), limit), list(user_ids)
            ).fetchall():
                selected.setdefault(user_id, []).append((sku, quantity))
        return selected

    def delete(self, user_id: int, skus: Sequence[str]) -> None:
        """Take items out of the cart; those that are not in it are passed over."""

        def work() -> None:
            here = (CartItemRow.user_id == user_id) & CartItemRow.sku.in_(list(skus))
            self._database.run(CartItemRow.delete().where(here))

        self._database.write(work)


@cache
def _selected(users: int, limit: int) -> str:
    """Each user's in a SELECT of its own, for LIMIT then stops at its share."""
    one = f"SELECT user_id, sku, quantity FROM cart_item WHERE user_id = ? AND selected ORDER BY sku LIMIT {limit}"  # noqa: S608
    return " UNION ALL ".join(f"SELECT * FROM ({one}) AS c{number}" for number in range(users))  # noqa: S608 our words


def _to_item(row: CartItemRow) -> CartItem:
    return CartItem(row.user_id, row.sku, row.quantity, row.selected, row.update_time)
