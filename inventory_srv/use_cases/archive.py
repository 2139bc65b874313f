"""Moves old rows out of the books, into an archive that has the same tables.

What the audit still needs of them stays behind as the opening balance of each sku, written by the transaction that
deletes the rows: the books balance at every moment. A row is committed to the archive before it is deleted, and put
there once, so archiving may stop anywhere and start again, and several processes may archive at once.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import Any, Final

import peewee

from common.database import Database, to_micros
from inventory_srv.adapters import rows
from inventory_srv.adapters.models import (
    MovementRow,
    OpeningBalanceRow,
    SaleLineRow,
    SaleRow,
    StockRequestRow,
)
from inventory_srv.domain.records import MovementKind, SaleState

_PAGE: Final = 500
_OF_SALES: Final = (MovementKind.SELL.value, MovementKind.REBACK.value)
_SALE: Final = (*rows.SALE, SaleRow.update_time)
_NO_AMOUNTS: Final = (0, 0, 0)

Row = rows.Row
Amounts = tuple[int, int, int]  # of an opening balance: available, sold by movements, sold by sales
Finished = Callable[[Sequence[str]], AbstractSet[str]]
"""Which of these orders are FINISHED: their stock is sold for good, and nobody will ask for it back."""


class Archive:
    """Each method walks a table from its oldest rows on, a page at a time, and returns how many rows it moved.

    Args:
        books: The service's database.
        archive: The target; migrated, with the same tables, `stock` and `opening_balance` empty.
        finished: Says of sales that are SOLD whether their orders are finished.
    """

    def __init__(self, books: Database, archive: Database, finished: Finished) -> None:
        self._books = books
        self._archive = archive
        self._finished = finished

    def movements(self, before: datetime) -> int:
        """Movements from before this time."""
        moved, last = 0, 0
        while page := self._read(
            MovementRow.select(*rows.MOVEMENT).where(MovementRow.id > last).order_by(MovementRow.id).limit(_PAGE)
        ):
            old = [row for row in page if row[-1] < to_micros(before)]
            if not old:
                break  # numbers and times go up together
            self._keep(rows.MOVEMENT, old)
            moved += self._books.write(lambda: self._delete_movements([row[0] for row in old]), repeat_on=_FOUND_LATER)  # noqa: B023 - it is called at once
            last = page[-1][0]
        return moved

    def sales(self, before: datetime) -> int:
        """Sales from before this time, with their lines: those returned before it too, and those of FINISHED orders."""
        moved, until = 0, to_micros(before)
        time, order_sn = 0, ""
        while page := self._read(_sales_after(time, order_sn, until)):
            time, order_sn = page[-1][2], page[-1][0]
            sold = [row[0] for row in page if row[1] == SaleState.SOLD.value]
            finished = self._finished(sold) if sold else frozenset()
            over = [row for row in page if row[0] in finished or (row[3] is not None and row[3] < until)]
            if over:
                order_sns = [row[0] for row in over]
                self._keep(_SALE, over)
                self._keep(rows.SALE_LINE, self._read(_lines_of(order_sns)), key=2)
                moved += self._books.write(lambda: self._delete_sales(order_sns), repeat_on=_FOUND_LATER)  # noqa: B023 - the same
        return moved

    def requests(self, before: datetime) -> int:
        """The request_ids of changes from before this time: the same change could be made anew with such a one."""
        moved, last, table = 0, "", StockRequestRow
        while page := self._read(
            table.select(*rows.REQUEST).where(table.request_id > last).order_by(table.request_id).limit(_PAGE)
        ):
            last = page[-1][0]
            old = [row for row in page if row[-1] < to_micros(before)]
            if old:
                self._keep(rows.REQUEST, old)
                gone = table.delete().where(table.request_id.in_([row[0] for row in old]))
                moved += self._books.write(lambda: self._books.run(gone))  # noqa: B023 - the same
        return moved

    def _read(self, query: Any) -> list[Row]:
        with self._books.reading():
            return self._found(query)

    def _found(self, query: Any) -> list[Row]:
        found: list[Row] = self._books.engine.execute(query).fetchall()
        return found

    def _keep(self, columns: Sequence[Any], found: Sequence[Row], key: int = 1) -> None:
        """Put those rows into the archive that it does not have yet; the first `key` columns identify a row."""
        table = columns[0].model
        names = ", ".join(column.column_name for column in columns)
        query = table.select(*columns[:key]).where(columns[0].in_({row[0] for row in found}))

        def work() -> None:
            there = set(self._archive.engine.execute(query).fetchall())
            self._archive.insert_many(
                f"{table._meta.table_name} ({names})",  # noqa: SLF001 - where peewee keeps it
                [row for row in found if row[:key] not in there],
            )

        self._archive.write(work, repeat_on=peewee.IntegrityError)

    def _delete_movements(self, ids: Sequence[int]) -> int:
        here = MovementRow.id.in_(ids)
        columns = MovementRow.sku, MovementRow.kind, MovementRow.delta
        held = self._found(self._books.locking(MovementRow.select(*columns).where(here)))
        self._open_with((sku, (delta, -delta if kind in _OF_SALES else 0, 0)) for sku, kind, delta in held)
        return self._books.run(MovementRow.delete().where(here))

    def _delete_sales(self, order_sns: Sequence[str]) -> int:
        columns = SaleRow.order_sn, SaleRow.state
        here = SaleRow.select(*columns).where(SaleRow.order_sn.in_(order_sns)).order_by(SaleRow.order_sn)
        states: dict[str, str] = dict(self._found(self._books.locking(here)))
        lines = self._found(_lines_of(list(states)))
        sold = (line for line in lines if states[line[0]] == SaleState.SOLD.value)
        self._open_with((sku, (0, 0, quantity)) for _, sku, quantity in sold)
        self._books.run(SaleLineRow.delete().where(SaleLineRow.order_sn.in_(list(states))))
        return self._books.run(SaleRow.delete().where(SaleRow.order_sn.in_(list(states))))

    def _open_with(self, amounts: Iterable[tuple[str, Amounts]]) -> None:
        """Add to the opening balances of skus."""
        added: defaultdict[str, Amounts] = defaultdict(lambda: _NO_AMOUNTS)
        for sku, more in amounts:
            added[sku] = _sum(added[sku], more)
        table = OpeningBalanceRow
        columns = table.sku, table.available, table.sold_by_movements, table.sold_by_sales
        held = table.select(*columns).where(table.sku.in_(sorted(added))).order_by(table.sku)
        there = {row[0]: row[1:] for row in self._found(self._books.locking(held))}
        self._books.insert_many(_NEW_BALANCE, [(sku, *more) for sku, more in sorted(added.items()) if sku not in there])
        changed = [(*_sum(there[sku], more), sku) for sku, more in sorted(added.items()) if sku in there]
        if changed:
            self._books.execute_many(_CHANGED_BALANCE, changed)


_FOUND_LATER: Final = peewee.IntegrityError  # another archiver wrote the first opening balance of a sku
_NEW_BALANCE: Final = "opening_balance (sku, available, sold_by_movements, sold_by_sales)"
_CHANGED_BALANCE: Final = (
    "UPDATE opening_balance SET available = ?, sold_by_movements = ?, sold_by_sales = ? WHERE sku = ?"
)


def _sales_after(time: int, order_sn: str, until: int) -> Any:
    """A page of sales, oldest first."""
    added, end = peewee.Value(time, converter=False), peewee.Value(until, converter=False)
    table = SaleRow
    # The first condition lets the index find the place, despite the OR.
    here = (table.add_time >= added) & ((table.add_time > added) | (table.order_sn > order_sn)) & (table.add_time < end)
    return table.select(*_SALE).where(here).order_by(table.add_time, table.order_sn).limit(_PAGE)


def _lines_of(order_sns: Sequence[str]) -> Any:
    return SaleLineRow.select(*rows.SALE_LINE).where(SaleLineRow.order_sn.in_(list(order_sns)))


def _sum(one: Sequence[int], other: Sequence[int]) -> Amounts:
    return one[0] + other[0], one[1] + other[1], one[2] + other[2]
