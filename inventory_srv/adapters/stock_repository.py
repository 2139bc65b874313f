"""Reads and holds the rows of a batch of changes, and writes what the changes made of them.

The only file with SQL for writing. Rows go through the database's cursor as tuples: thousands a second pass here.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Final

import peewee

from common.database import Database, Overtaken, Statement, padded, to_micros
from inventory_srv.adapters import rows
from inventory_srv.domain.changes import AdjustStock, Change, Reback, Sell, SetStock, WorkingSet
from inventory_srv.domain.records import AnsweredRequest, Movement, Sale, SaleState, Stock

_NEW_STOCK: Final = "stock (sku, available, sold, version, add_time, update_time)"
_CHANGED_STOCK: Final = "stock SET available = available + ?, sold = sold + ?, version = version + ?, update_time = ?"
# A row that differs from what was known of it (by a cache, by memory) is detected, not overwritten.
_STOCK_AS_READ: Final = "sku = ? AND version = ? AND available = ?"
# Never an upsert: of two replicas that write one order_sn, the second must find the sale of the first.
_NEW_SALE: Final = "sale (order_sn, state, return_time, return_reason, add_time, update_time)"
_RETURNED_SALE: Final = (
    "UPDATE sale SET state = 'RETURNED', return_time = ?, return_reason = ?, update_time = ?"
    " WHERE order_sn = ? AND state = 'SOLD'"
)
_NEW_SALE_LINE: Final = "sale_line (order_sn, sku, quantity)"
_NEW_MOVEMENT: Final = "movement (sku, kind, delta, available_after, order_sn, request_id, reason, add_time)"
_NEW_REQUEST: Final = "stock_request (request_id, content, sku, available, sold, version, add_time)"

_KEYS_AT_ONCE: Final = 1024

REPEAT_ON: Final = (peewee.IntegrityError, Overtaken)
"""What `check_refused`, or the transaction's end after `write`, raises when another replica was first.

A new transaction finds its rows.
"""


class Repository:
    """The rows behind every change of stock.

    `hold` or `hold_stocks`, `check_refused` and `write` belong in one transaction of `database`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sales = _Lookup(database, rows.SALE)
        self._lines = _Lookup(database, rows.SALE_LINE)
        self._requests = _Lookup(database, rows.REQUEST)
        self._stocks = _Lookup(database, rows.STOCK)

    def skus_sold_to(self, order_sns: Iterable[str]) -> set[str]:
        """The skus of these orders' sales, by a plain read: a hint, since a sale may be about to commit."""
        return {sku for _, sku, _ in self._lines.find(sorted(order_sns), held=False)}

    def buyers(self, sku: str, limit: int) -> set[str]:
        """The orders that bought a sku, returned ones included; at most `limit` of them."""
        found = self._database.execute("SELECT order_sn FROM sale_line WHERE sku = ? LIMIT ?", (sku, limit))
        return {order_sn for (order_sn,) in found.fetchall()}

    def hold(self, changes: Iterable[Change]) -> WorkingSet:
        """Read and hold every row that `changes` concern, always in the same order, so that no two batches deadlock."""
        order_sns, request_ids, skus = _keys(changes)
        sales = self._hold_sales(sorted(order_sns))
        requests = [rows.to_request(row) for row in self._requests.find(sorted(request_ids))]
        skus.update(line.sku for sale in sales if sale.state is SaleState.SOLD for line in sale.lines)
        stocks = [rows.to_stock(row) for row in self._stocks.find(sorted(skus))]
        return WorkingSet(stocks, sales, requests)

    def hold_stocks(self, skus: Sequence[str]) -> WorkingSet:
        """The same for new sells of these skus (ascending): they have no rows of their own yet, which spares a trip."""
        return WorkingSet(rows.to_stock(row) for row in self._stocks.find(skus))

    def check_refused(self, working_set: WorkingSet, refused: Iterable[Change]) -> None:
        """Make sure that no change was refused only because another replica has just carried it out.

        A change's key is read before its stock is held, and another replica may commit in between: then the stock is
        gone, taken by this very change. A change that is not refused writes its key, and so detects that by itself.

        Raises:
            Overtaken: One was carried out. A new transaction reads it, and gives its first answer.
        """
        order_sns, request_ids, _ = _keys(refused)
        # A plain read is enough: the writer of such a key held the same stock, so it has committed.
        late_sales = self._sales.find(sorted(order_sns - working_set.sales.keys()), held=False)
        late_requests = self._requests.find(sorted(request_ids - working_set.requests.keys()), held=False)
        if any(late_sales) or any(late_requests):
            raise Overtaken("a refused change had been carried out")

    def write(self, working_set: WorkingSet) -> None:
        """Have the transaction write all differences to what was read, in one trip with its COMMIT.

        It fails with one of `REPEAT_ON` when a row is not as it was read, or a new row exists already.
        """
        inserting = self._database.inserting
        new_sales, returned = working_set.new_sales(), working_set.returned_sales()
        lines = [(sale.order_sn, sku, n) for sale in new_sales for sku, n in sale.lines]
        movements = [_movement_row(movement) for movement in working_set.movements]
        inserts = (
            *inserting(_NEW_SALE, [_sale_row(sale) for sale in new_sales]),
            *inserting(_NEW_SALE_LINE, lines),
            *inserting(_NEW_REQUEST, [_request_row(request) for request in working_set.new_requests]),
            *inserting(_NEW_STOCK, [_stock_row(stock) for stock in working_set.new_stocks()]),
            *inserting(_NEW_MOVEMENT, movements),
        )
        updates = (
            *(((_RETURNED_SALE, _returned_row(sale)), 1) for sale in returned),
            *self._changing(working_set.changed_stocks()),
        )
        self._database.at_commit(inserts, updates)

    def _changing(self, changed: Iterable[tuple[Stock, Stock]]) -> Iterator[tuple[Statement, int]]:
        """The updates of stocks, and how many rows each must find; equal changes (many sold one unit) share one."""
        alike: dict[rows.Row, list[rows.Row]] = {}
        for stock, read in changed:
            change = (
                stock.available - read.available,
                stock.sold - read.sold,
                stock.version - read.version,
                to_micros(stock.update_time),
            )
            alike.setdefault(change, []).append((read.sku, read.version, read.available))
        for change, keys in alike.items():
            yield from self._database.updating(_CHANGED_STOCK, change, _STOCK_AS_READ, keys)

    def _hold_sales(self, order_sns: Sequence[str]) -> list[Sale]:
        found = list(self._sales.find(order_sns))
        return rows.to_sales(found, self._lines.find([row[0] for row in found]))


class _Lookup:
    """Rows of one table by a list of keys, ascending; the SQL is built once for each length of list.

    Args:
        columns: What a row has; the first is what the keys are of.
    """

    def __init__(self, database: Database, columns: Sequence[Any]) -> None:
        self._database = database
        self._key = columns[0]
        self._columns = columns
        self._statements: dict[tuple[int, bool], str] = {}

    def find(self, keys: Sequence[str], *, held: bool = True) -> Iterator[rows.Row]:
        """The existing rows of `keys` (ascending); when `held`, nobody changes them before the transaction ends."""
        rest = iter(keys)
        while chunk := list(islice(rest, _KEYS_AT_ONCE)):
            values = padded(chunk)
            yield from self._database.engine.execute_sql(self._statement(len(values), held=held), values).fetchall()

    def _statement(self, length: int, *, held: bool) -> str:
        statement = self._statements.get((length, held))
        if statement is None:
            query = self._key.model.select(*self._columns)
            query = query.where(self._key.in_([""] * length)).order_by(self._key)
            query = self._database.locking(query) if held else query
            statement, _ = self._database.engine.get_sql_context().sql(query).query()
            self._statements[length, held] = statement
        return statement


def _keys(changes: Iterable[Change]) -> tuple[set[str], set[str], set[str]]:
    """The order_sns, request_ids and skus that `changes` name."""
    order_sns: set[str] = set()
    request_ids: set[str] = set()
    skus: set[str] = set()
    for change in changes:
        skus.update(change.skus)
        match change:
            case Sell() | Reback():
                order_sns.add(change.order_sn)
            case SetStock() | AdjustStock():
                request_ids.add(change.request_id)
    return order_sns, request_ids, skus


def _stock_row(stock: Stock) -> rows.Row:
    return (*stock[:4], to_micros(stock.update_time), to_micros(stock.update_time))


def _sale_row(sale: Sale) -> rows.Row:
    added = to_micros(sale.create_time)
    returned = None if sale.return_time is None else to_micros(sale.return_time)
    # The enum's plain value: PyMySQL takes 3.5 µs to find out how to quote a type that it does not know.
    return (sale.order_sn, sale.state.value, returned, sale.return_reason, added, returned or added)


def _movement_row(movement: Movement) -> rows.Row:
    sku, kind, *numbers_and_keys, added = movement
    return (sku, kind.value, *numbers_and_keys, to_micros(added))


def _returned_row(sale: Sale) -> rows.Row:
    assert sale.return_time is not None
    returned = to_micros(sale.return_time)
    return (returned, sale.return_reason, returned, sale.order_sn)


def _request_row(request: AnsweredRequest) -> rows.Row:
    return (request.request_id, request.content, *request.answer[:4], to_micros(request.answer.update_time))
