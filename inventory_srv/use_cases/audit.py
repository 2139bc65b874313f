"""Compares the three books: stock, sales and ledger."""

import time
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple

import peewee
from peewee import fn

from common import paging
from common.database import Database
from inventory_srv.adapters.models import MovementRow, OpeningBalanceRow, SaleLineRow, SaleRow, StockRow
from inventory_srv.domain.records import MovementKind, SaleState, StockDifference

_PAGE_WITHIN: Final = timedelta(seconds=2)
_SKUS_AT_ONCE: Final = 250

_SOLD_BY_MOVEMENT: Final = peewee.Case(
    None,
    [(MovementRow.kind.in_([MovementKind.SELL.value, MovementKind.REBACK.value]), MovementRow.delta * -1)],
    0,
)

_STILL_SOLD: Final = peewee.Case(None, [(SaleRow.state == SaleState.SOLD.value, SaleLineRow.quantity)], 0)


class AuditPage(NamedTuple):
    """The result of a page of skus.

    Attributes:
        skus_checked: How many were compared.
        differences: Those whose books differ.
        next_page_token: Empty on the last page.
    """

    skus_checked: int
    differences: list[StockDifference]
    next_page_token: str


class Audit:
    """Adds up.

    Args:
        database: The books.
        page_within: A page that took so long ends early: its cost grows with the sales of its skus.
    """

    def __init__(self, database: Database, page_within: timedelta = _PAGE_WITHIN) -> None:
        self._database = database
        self._page_within = page_within.total_seconds()

    def page(self, page_size: int, page_token: str) -> AuditPage:
        """Compare the next skus of all books, as of one moment."""
        size, after = paging.page_size(page_size), paging.decode(page_token, str)
        checked, differences, began = 0, [], time.monotonic()
        with self._database.snapshot():
            found = self._skus("" if after is None else str(after[0]), size + 1)
            page, next_page_token = paging.paginate(found, size, lambda sku: (sku,))
            while checked < len(page) and (not checked or time.monotonic() - began < self._page_within):
                some = page[checked : checked + _SKUS_AT_ONCE]
                differences += self._differences(some)
                checked += len(some)
        if checked < len(page):
            next_page_token = paging.encode((page[checked - 1],))
        return AuditPage(checked, differences, next_page_token)

    def _skus(self, after: str, limit: int) -> list[str]:
        """The next skus that any book has."""
        books = (StockRow.sku, MovementRow.sku, SaleLineRow.sku, OpeningBalanceRow.sku)
        return sorted({sku for column in books for sku in self._distinct(column, after, limit)})[:limit]

    def _distinct(self, column: Any, after: str, limit: int) -> Iterable[str]:
        """The next `limit` skus of a book, along its index; the page adds up the rows behind them anyway."""
        query = column.model.select(column).distinct().where(column > after).order_by(column).limit(limit)
        return (row[0] for row in self._rows(query))

    def _differences(self, skus: Sequence[str]) -> list[StockDifference]:
        stocks = {
            sku: (available, sold)
            for sku, available, sold in self._rows(
                StockRow.select(StockRow.sku, StockRow.available, StockRow.sold).where(StockRow.sku.in_(skus))
            )
        }
        # A sum is a Decimal with some engines.
        moved = {sku: (int(available), int(sold)) for sku, available, sold in self._rows(_by_movements(skus))}
        sold_by_sales = {sku: int(sold) for sku, sold in self._rows(_by_sales(skus))}
        opening = {sku: amounts for sku, *amounts in self._rows(_opening(skus))}
        compared = []
        for sku in skus:
            available, sold = moved.get(sku, (0, 0))
            opened = opening.get(sku, (0, 0, 0))
            by_ledger = available + opened[0], sold + opened[1], sold_by_sales.get(sku, 0) + opened[2]
            compared.append(StockDifference(sku, *stocks.get(sku, (0, 0)), *by_ledger))
        return [books for books in compared if not _balances(books)]

    def _rows(self, query: Any) -> list[Any]:
        rows: list[Any] = self._database.engine.execute(query).fetchall()
        return rows


def _by_movements(skus: Sequence[str]) -> Any:
    return (
        MovementRow.select(MovementRow.sku, fn.SUM(MovementRow.delta), fn.SUM(_SOLD_BY_MOVEMENT))
        .where(MovementRow.sku.in_(skus))
        .group_by(MovementRow.sku)
    )


def _by_sales(skus: Sequence[str]) -> Any:
    # An outer join forces the engine to begin at the lines of these skus. When it began at the sales, it compared each
    # of them with every sku of the page.
    return (
        SaleLineRow.select(SaleLineRow.sku, fn.SUM(_STILL_SOLD))
        .join(SaleRow, peewee.JOIN.LEFT_OUTER, on=(SaleRow.order_sn == SaleLineRow.order_sn))
        .where(SaleLineRow.sku.in_(skus))
        .group_by(SaleLineRow.sku)
    )


def _opening(skus: Sequence[str]) -> Any:
    table = OpeningBalanceRow
    return table.select(table.sku, table.available, table.sold_by_movements, table.sold_by_sales).where(
        table.sku.in_(skus)
    )


def _balances(books: StockDifference) -> bool:
    return books.available == books.available_by_movements and (
        books.sold == books.sold_by_movements == books.sold_by_sales
    )
