"""The rules against a model that is too simple to be wrong, over whatever sequences chance finds."""

from collections import Counter
from datetime import timedelta

from hypothesis import given, settings

from common.errors import DomainError
from inventory_srv.domain.changes import AdjustStock, Change, Reback, Sell, SetStock, WorkingSet
from inventory_srv.domain.records import MovementKind, SaleState, Stock
from tests.support.random_stock_changes import batches
from tests.support.stock_changes import START

RpcFailure = str | tuple[object, ...]


class Model:
    """What there is, who has what, who is over, what was answered."""

    def __init__(self) -> None:
        self.available: dict[str, int] = {}
        self.versions = Counter[str]()
        self.sold: dict[str, Counter[str]] = {}
        self.over: dict[str, Counter[str]] = {}
        self.answered: dict[str, tuple[Change, RpcFailure]] = {}

    def apply(self, change: Change) -> RpcFailure:
        match change:
            case Sell(order_sn, lines):
                return self.sell(order_sn, Counter({line.sku: line.quantity for line in lines}))
            case Reback(order_sn, _):
                return self.reback(order_sn)
            case SetStock() | AdjustStock():
                return self.restock(change)

    def sell(self, order_sn: str, wanted: Counter[str]) -> RpcFailure:
        if order_sn in self.over:
            return "SALE_RETURNED"
        if order_sn in self.sold:
            return ("SOLD", self.sold[order_sn]) if self.sold[order_sn] == wanted else "DIFFERENT_CONTENT"
        if not wanted.keys() <= self.available.keys():
            return "SKU_NOT_FOUND"
        if not all(self.available[sku] >= wanted[sku] for sku in wanted):
            return "NO_STOCK"
        self._move(wanted, -1)
        self.sold[order_sn] = wanted
        return ("SOLD", wanted)

    def reback(self, order_sn: str) -> RpcFailure:
        if order_sn not in self.over:
            self.over[order_sn] = self.sold.pop(order_sn, Counter())
            self._move(self.over[order_sn], 1)
        return ("RETURNED", self.over[order_sn])

    def restock(self, change: SetStock | AdjustStock) -> RpcFailure:
        first, answer = self.answered.get(change.request_id, (None, ""))
        if first is not None:
            return answer if first == change else "DIFFERENT_CONTENT"
        before = self.available.get(change.sku)
        if isinstance(change, SetStock):
            if change.expected_version not in (None, self.versions[change.sku]):
                return "VERSION_MISMATCH"
            after = change.quantity
        elif before is None:
            return "SKU_NOT_FOUND"
        else:
            after = before + change.delta
        if after < 0:
            return "NO_STOCK"
        self.available[change.sku] = after
        self.versions[change.sku] += 1
        answer = ("STOCK", after, self.sold_of(change.sku), self.versions[change.sku])
        self.answered[change.request_id] = (change, answer)
        return answer

    def sold_of(self, sku: str) -> int:
        return sum(lines[sku] for lines in self.sold.values())

    def _move(self, lines: Counter[str], sign: int) -> None:
        for sku, quantity in lines.items():
            self.available[sku] += sign * quantity
            self.versions[sku] += 1


def told_by(working_set: WorkingSet, change: Change, step: int) -> RpcFailure:
    try:
        answer = working_set.apply(change, START + timedelta(seconds=step))
    except DomainError as refusal:
        return refusal.reason
    if isinstance(change, Sell | Reback):
        sale = working_set.sales[change.order_sn]
        assert answer == sale
        return (sale.state.value, Counter({line.sku: line.quantity for line in sale.lines}))
    assert isinstance(answer, Stock)
    return ("STOCK", answer.available, answer.sold, answer.version)


def assert_books_balance(working_set: WorkingSet) -> None:
    for sku, stock in working_set.stocks.items():
        moved = [movement for movement in working_set.movements if movement.sku == sku]
        put_in = sum(m.delta for m in moved if m.kind in (MovementKind.SET, MovementKind.ADJUST))
        held = sum(
            line.quantity
            for sale in working_set.sales.values()
            if sale.state is SaleState.SOLD
            for line in sale.lines
            if line.sku == sku
        )
        assert put_in == stock.available + stock.sold
        assert sum(m.delta for m in moved) == stock.available == moved[-1].available_after
        assert held == stock.sold
        assert min(stock.available, stock.sold, *(m.available_after for m in moved)) >= 0
        assert stock.version == len(moved)


@settings(max_examples=300, deadline=None, print_blob=True)
@given(batches)
def test_the_rules_say_what_the_model_says_and_the_books_balance_at_every_step(changes: list[Change]) -> None:
    working_set, model = WorkingSet(), Model()
    for step, change in enumerate(changes):
        assert told_by(working_set, change, step) == model.apply(change)
        assert {sku: stock.available for sku, stock in working_set.stocks.items()} == model.available
        assert all(stock.sold == model.sold_of(sku) for sku, stock in working_set.stocks.items())
        assert_books_balance(working_set)
