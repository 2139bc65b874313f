"""The rules of stock: what a change does to a working set of rows, without a database.

    Sell         takes the stock of all lines of one order, all or nothing
    Reback       returns the stock of one order, once; without a sale it leaves a tombstone
    SetStock     sets what can be sold, and creates the sku
    AdjustStock  adds to what can be sold, or takes away

A rule reads the working set and returns an effect, or refuses by raising. Only a whole effect is applied, so that a
refused change, or one that runs into a bug, leaves no trace.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Any, Final, NamedTuple, overload

from common.content_hash import content_hash
from inventory_srv.domain.errors import (
    DifferentContent,
    NoStock,
    SaleReturned,
    SkuNotFound,
    StockLimit,
    VersionMismatch,
)
from inventory_srv.domain.records import AnsweredRequest, Line, Movement, MovementKind, Sale, SaleState, Stock

_FORM: Final = 1  # of the hashed content: a field more is a form more

LARGEST_AVAILABLE: Final = 2**31 - 1
"""The most units that SetStock and AdjustStock make available. A reback may go beyond: it never fails."""


@dataclass(frozen=True, slots=True)
class Sell:
    """Take `lines` for `order_sn`; a sku that comes twice is summed."""

    order_sn: str
    lines: tuple[Line, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "lines", _summed(self.lines))

    @property
    def skus(self) -> Sequence[str]:
        return [line.sku for line in self.lines]


@dataclass(frozen=True, slots=True)
class Reback:
    order_sn: str
    reason: str

    @property
    def skus(self) -> Sequence[str]:
        """Empty: its sale has them."""
        return ()


@dataclass(frozen=True, slots=True)
class SetStock:
    """Make `quantity` units available.

    Attributes:
        request_id: What makes the change repeatable; unique to this change when its caller gave none.
        expected_version: Refuse when the stock has another version; 0: when the sku exists.
    """

    request_id: str
    sku: str
    quantity: int
    reason: str
    expected_version: int | None = None

    @property
    def skus(self) -> Sequence[str]:
        return (self.sku,)

    @property
    def content(self) -> str:
        return content_hash(_FORM, "SetStock", self.sku, self.quantity, self.reason, self.expected_version)


@dataclass(frozen=True, slots=True)
class AdjustStock:
    """Add `delta` units, which may be negative, to those available."""

    request_id: str
    sku: str
    delta: int
    reason: str

    @property
    def skus(self) -> Sequence[str]:
        return (self.sku,)

    @property
    def content(self) -> str:
        return content_hash(_FORM, "AdjustStock", self.sku, self.delta, self.reason)


Change = Sell | Reback | SetStock | AdjustStock
Answer = Stock | Sale


class Effect(NamedTuple):
    """What one change does: the rows after it, and the answer to its caller."""

    answer: Answer
    stocks: Sequence[Stock] = ()
    movements: Sequence[Movement] = ()
    sale: Sale | None = None
    request: AnsweredRequest | None = None


class Origin(Enum):
    """Where the stocks of a working set come from."""

    ROWS = auto()
    """Just read from the database, and held."""
    MEMORY = auto()
    """Known from earlier batches under the same lock: nobody else changes them."""
    CACHE = auto()
    """Perhaps stale: the cache may have missed a committed change."""


class WorkingSet:
    """The rows of a batch of changes: as they were read, and as the changes leave them.

    Args:
        stocks, sales, requests: The existing rows of the batch's skus, order_sns and request_ids; no sales where all of
            them are taken for new.
        origin: Where the stocks come from.
    """

    def __init__(
        self,
        stocks: Iterable[Stock] = (),
        sales: Iterable[Sale] = (),
        requests: Iterable[AnsweredRequest] = (),
        *,
        origin: Origin = Origin.ROWS,
    ) -> None:
        self.stocks = {stock.sku: stock for stock in stocks}
        self.sales = {sale.order_sn: sale for sale in sales}
        self.requests = {request.request_id: request for request in requests}
        self.movements: list[Movement] = []
        self.new_requests: list[AnsweredRequest] = []
        self._stocks_read = dict(self.stocks)
        self._origin = origin
        self._sales_read = dict(self.sales)

    @overload
    def apply(self, change: Sell | Reback, now: datetime) -> Sale: ...
    @overload
    def apply(self, change: SetStock | AdjustStock, now: datetime) -> Stock: ...
    def apply(self, change: Change, now: datetime) -> Answer:
        """Carry out one change as of `now`.

        Raises:
            DomainError: It is refused; the working set is unchanged.
        """
        effect = _RULES[type(change)](change, self, now)
        for stock in effect.stocks:
            self.stocks[stock.sku] = stock
        if effect.sale is not None:
            self.sales[effect.sale.order_sn] = effect.sale
        if effect.request is not None:
            self.requests[effect.request.request_id] = effect.request
            self.new_requests.append(effect.request)
        self.movements.extend(effect.movements)
        return effect.answer

    @property
    def may_be_stale(self) -> bool:
        return self._origin is not Origin.ROWS

    def new_stocks(self) -> list[Stock]:
        return [stock for sku, stock in self.stocks.items() if sku not in self._stocks_read]

    def changed_stocks(self) -> list[tuple[Stock, Stock]]:
        """Changed stocks, each with the form in which it was read."""
        return [(stock, read) for sku, read in self._stocks_read.items() if (stock := self.stocks[sku]) is not read]

    def confirmed_stocks(self) -> Iterable[Stock]:
        """Stocks that the database has in this very form once the working set is committed."""
        if self._origin is Origin.ROWS:
            return self.stocks.values()
        return [stock for stock, _ in self.changed_stocks()]

    def new_sales(self) -> list[Sale]:
        return [sale for order_sn, sale in self.sales.items() if order_sn not in self._sales_read]

    def returned_sales(self) -> list[Sale]:
        """Sales that were read as SOLD and are RETURNED now."""
        return [sale for order_sn, read in self._sales_read.items() if (sale := self.sales[order_sn]) is not read]


def _sell(change: Sell, working_set: WorkingSet, now: datetime) -> Effect:
    sale = working_set.sales.get(change.order_sn)
    if sale is not None:
        return _sold_before(change, sale)
    taken = _enough(change.lines, working_set)
    stocks = [
        Stock(stock.sku, stock.available - quantity, stock.sold + quantity, stock.version + 1, now)
        for stock, quantity in taken
    ]
    movements = [
        Movement(stock.sku, MovementKind.SELL, -line.quantity, stock.available, change.order_sn, None, "", now)
        for stock, line in zip(stocks, change.lines, strict=True)
    ]
    sale = Sale(change.order_sn, SaleState.SOLD, change.lines, now, None, "")
    return Effect(sale, stocks, movements, sale)


def _sold_before(change: Sell, sale: Sale) -> Effect:
    # An order that is over gets that answer, whatever its lines are.
    if sale.state is SaleState.RETURNED:
        raise SaleReturned(change.order_sn)
    if sale.lines != change.lines:
        raise DifferentContent("order_sn", change.order_sn)
    return Effect(sale)


def _enough(lines: Sequence[Line], working_set: WorkingSet) -> list[tuple[Stock, int]]:
    """The stocks to take from, and how much of each; an error names all unknown skus, or else all short ones."""
    stocks = [(working_set.stocks.get(sku), quantity) for sku, quantity in lines]
    taken = [(stock, quantity) for stock, quantity in stocks if stock is not None]
    if len(taken) < len(lines):
        raise SkuNotFound(sku for sku, _ in lines if sku not in working_set.stocks)
    short = [(stock.sku, quantity, stock.available) for stock, quantity in taken if quantity > stock.available]
    if short:
        raise NoStock(short)
    return taken


def _reback(change: Reback, working_set: WorkingSet, now: datetime) -> Effect:
    sale = working_set.sales.get(change.order_sn)
    if sale is None:
        tombstone = Sale(change.order_sn, SaleState.RETURNED, (), now, now, change.reason)
        return Effect(tombstone, sale=tombstone)
    if sale.state is SaleState.RETURNED:
        return Effect(sale)
    stocks = [_returned_stock(working_set.stocks[sku], quantity, now) for sku, quantity in sale.lines]
    movements = [
        Movement(
            stock.sku,
            MovementKind.REBACK,
            line.quantity,
            stock.available,
            change.order_sn,
            None,
            change.reason,
            now,
        )
        for stock, line in zip(stocks, sale.lines, strict=True)
    ]
    returned = sale._replace(state=SaleState.RETURNED, return_time=now, return_reason=change.reason)
    return Effect(returned, stocks, movements, returned)


def _returned_stock(stock: Stock, quantity: int, now: datetime) -> Stock:
    if stock.sold < quantity:
        # Someone bypassed these rules. The database would refuse it too, but with it the whole batch.
        raise AssertionError(f"{stock.sku} has {stock.sold} sold, and a sale of {quantity} to return")
    return Stock(stock.sku, stock.available + quantity, stock.sold - quantity, stock.version + 1, now)


def _set_stock(change: SetStock, working_set: WorkingSet, now: datetime) -> Effect:
    if answered := _answered_before(change, working_set):
        return answered
    before = working_set.stocks.get(change.sku) or Stock(change.sku, 0, 0, 0, now)
    expected = change.expected_version
    if expected is not None and expected != before.version:
        raise VersionMismatch(change.sku, expected, before.version)
    return _restocked(change, MovementKind.SET, before, change.quantity, now)


def _adjust_stock(change: AdjustStock, working_set: WorkingSet, now: datetime) -> Effect:
    if answered := _answered_before(change, working_set):
        return answered
    before = working_set.stocks.get(change.sku)
    if before is None:
        raise SkuNotFound([change.sku])
    available = before.available + change.delta
    if available < 0:
        raise NoStock([(change.sku, -change.delta, before.available)])
    if change.delta > 0 and available > LARGEST_AVAILABLE:
        raise StockLimit(change.sku, available, LARGEST_AVAILABLE)
    return _restocked(change, MovementKind.ADJUST, before, available, now)


def _answered_before(change: SetStock | AdjustStock, working_set: WorkingSet) -> Effect | None:
    answered = working_set.requests.get(change.request_id)
    if answered is None:
        return None
    if answered.content != change.content:
        raise DifferentContent("request_id", change.request_id)
    return Effect(answered.answer)


def _restocked(
    change: SetStock | AdjustStock, kind: MovementKind, before: Stock, available: int, now: datetime
) -> Effect:
    after = Stock(change.sku, available, before.sold, before.version + 1, now)
    delta = available - before.available
    movement = Movement(change.sku, kind, delta, available, None, change.request_id, change.reason, now)
    return Effect(after, [after], [movement], request=AnsweredRequest(change.request_id, change.content, after))


_RULES: Final[dict[type, Callable[[Any, WorkingSet, datetime], Effect]]] = {
    Sell: _sell,
    Reback: _reback,
    SetStock: _set_stock,
    AdjustStock: _adjust_stock,
}


def _summed(lines: Sequence[Line]) -> tuple[Line, ...]:
    """One line a sku, by sku ascending."""
    if len(lines) == 1:
        return tuple(lines)
    quantities: dict[str, int] = {}
    for sku, quantity in lines:
        quantities[sku] = quantities.get(sku, 0) + quantity
    return tuple(Line(sku, quantities[sku]) for sku in sorted(quantities))
