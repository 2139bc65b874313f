"""The books of both services, read by their calls alone: whether every unit and every payment is accounted for.

    assert_books_balance(inventory, order, users=[1, 2])

For each sku, set + adjusted = available + sold, and never below zero; every order is at rest; a live order has a SOLD
sale, a dead one a RETURNED sale, or none when inventory refused it; no dead order waits for its stock any more.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from reback.inventory.v1 import inventory_pb2 as stock_pb
from reback.inventory.v1.inventory_pb2_grpc import InventoryServiceStub
from reback.order.v1 import order_pb2 as pb
from reback.order.v1.order_pb2_grpc import OrderServiceStub

_PAGE: Final = 1000
_TIMEOUT_S: Final = 30.0  # for one call; the machine may be busy
_PAUSE_S: Final = 0.05

_LIVE: Final = frozenset({pb.ORDER_STATE_UNPAID, pb.ORDER_STATE_PAID, pb.ORDER_STATE_FINISHED})
_PAID: Final = frozenset({pb.ORDER_STATE_PAID, pb.ORDER_STATE_FINISHED})
_GAVE: Final = frozenset({stock_pb.MOVEMENT_KIND_SET, stock_pb.MOVEMENT_KIND_ADJUST})

# Why an order failed without inventory's definite refusal: such an order owes its stock.
_OWING: Final = frozenset({"BROKER_UNAVAILABLE", "STOCK_UNCLEAR", "TIMEOUT_NOT_SET", "ABANDONED"})


@dataclass(frozen=True)
class Books:
    """Everything both services say, as it was read: not one moment unless nothing moves."""

    stocks: Sequence[stock_pb.Stock]
    movements: Sequence[stock_pb.Movement]
    sales: Sequence[stock_pb.Sale]
    differences: Sequence[stock_pb.StockDifference]
    orders: Sequence[pb.Order]
    stock_returned: Counter[str]
    """How often each dead order was noted to have its stock back."""

    def in_state(self, state: "pb.OrderState.ValueType") -> list[pb.Order]:
        return [order for order in self.orders if order.state == state]


def assert_books_balance(
    inventory: InventoryServiceStub, orders: OrderServiceStub, *, users: Iterable[int], timeout_s: float = 30.0
) -> Books:
    """Wait until the books of both services balance, and fail with everything that is wrong when they never do.

    Args:
        inventory: A stub of the inventory service.
        orders: A stub of the order service.
        users: Everybody who may have ordered: a sale of anybody else's order counts as one without an order.
        timeout_s: Seconds to come to rest.

    Returns:
        The books that balanced.
    """
    give_up = time.monotonic() + timeout_s
    everybody = sorted(set(users))
    while True:
        books = read_books(inventory, orders, users=everybody)
        problems = problems_in(books)
        if not problems:
            return books
        assert time.monotonic() < give_up, "the books do not balance:\n  " + "\n  ".join(problems)
        time.sleep(_PAUSE_S)


def read_books(inventory: InventoryServiceStub, orders: OrderServiceStub, *, users: Iterable[int]) -> Books:
    """Read the books once. Orders come first: the sale of an order that was read is then not missed."""
    all_orders = [order for user in users for order in _orders_of(orders, user)]
    dead = [order for order in all_orders if order.state in {pb.ORDER_STATE_CLOSED, pb.ORDER_STATE_FAILED}]
    returned = Counter({order.order_sn: _times_returned(orders, order.order_sn) for order in dead})
    stocks = list(_stocks(inventory))
    return Books(
        stocks=stocks,
        movements=[movement for stock in stocks for movement in _movements(inventory, stock.sku)],
        sales=list(_sales(inventory)),
        differences=list(_differences(inventory)),
        orders=all_orders,
        stock_returned=returned,
    )


def problems_in(books: Books) -> list[str]:
    """Everything that is wrong, a line each; empty when the books balance."""
    return [*_stock_problems(books), *_sale_problems(books), *_payment_problems(books)]


def _stock_problems(books: Books) -> Iterator[str]:
    gave, left, held = _gave(books), _left(books), _held(books)
    for stock in books.stocks:
        sku, available, sold = stock.sku, stock.available, stock.sold
        if min(available, sold) < 0:
            yield f"{sku}: below zero, {available} available and {sold} sold"
        if gave[sku] != available + sold:
            yield f"{sku}: {gave[sku]} set and adjusted, but {available} available + {sold} sold"
        if left[sku] != available:
            yield f"{sku}: its movements leave {left[sku]}, but {available} are available"
        if held[sku] != sold:
            yield f"{sku}: live orders hold {held[sku]}, but {sold} are sold"
    for movement in books.movements:
        if movement.available_after < 0:
            yield f"{movement.sku}: movement {movement.id} left {movement.available_after}"
    for difference in books.differences:
        yield f"the audit says: {str(difference).replace(chr(10), ' ')}"


def _gave(books: Books) -> Counter[str]:
    """What was set and adjusted, by sku."""
    gave = Counter[str]()
    for movement in books.movements:
        if movement.kind in _GAVE:
            gave[movement.sku] += movement.delta
    return gave


def _left(books: Books) -> Counter[str]:
    """What all movements leave, by sku."""
    left = Counter[str]()
    for movement in books.movements:
        left[movement.sku] += movement.delta
    return left


def _held(books: Books) -> Counter[str]:
    """What live orders hold, by sku."""
    held = Counter[str]()
    for order in books.orders:
        if order.state in _LIVE:
            held.update(_quantities(order.lines))
    return held


def _sale_problems(books: Books) -> Iterator[str]:
    sales = {sale.order_sn: sale for sale in books.sales}
    for order in books.orders:
        problem = _problem_of(order, sales.pop(order.order_sn, None), books.stock_returned[order.order_sn])
        if problem is not None:
            state = pb.OrderState.Name(order.state).removeprefix("ORDER_STATE_")
            yield f"{order.order_sn} is {state} {order.failure_reason}: {problem}"
    for order_sn in sales:
        yield f"{order_sn} has a sale, but is nobody's order"


def _problem_of(order: pb.Order, sale: stock_pb.Sale | None, times_returned: int) -> str | None:
    if order.state == pb.ORDER_STATE_CREATING:
        return "not at rest"
    if order.state in _LIVE:
        return _problem_of_live(order, sale)
    if sale is not None and sale.state != stock_pb.SALE_STATE_RETURNED:
        return "dead, but its sale is still SOLD"
    owes = order.state == pb.ORDER_STATE_CLOSED or order.failure_reason in _OWING
    if owes and sale is None:
        return "dead, and inventory never heard of it"
    if times_returned != owes:
        return f"its stock was noted as returned {times_returned} times, not {int(owes)}"
    return None


def _problem_of_live(order: pb.Order, sale: stock_pb.Sale | None) -> str | None:
    if sale is None or sale.state != stock_pb.SALE_STATE_SOLD:
        return "alive without a SOLD sale"
    if _quantities(sale.lines) != _quantities(order.lines):
        return "alive with a sale of other lines"
    return None


def _payment_problems(books: Books) -> Iterator[str]:
    for order in books.orders:
        applied = [payment for payment in order.payments if payment.outcome == pb.PAYMENT_OUTCOME_APPLIED]
        wanted = 1 if order.state in _PAID else 0
        if len(applied) != wanted:
            yield f"{order.order_sn}: {len(applied)} payments applied, not {wanted}"
        for payment in applied:
            if (payment.amount_cents, payment.currency) != (order.total_cents, order.currency):
                yield f"{order.order_sn}: {payment.payment_id} was applied with the wrong amount"


def _quantities(lines: Iterable[stock_pb.SaleLine] | Iterable[pb.OrderLine]) -> dict[str, int]:
    return {line.sku: line.quantity for line in lines}


def _orders_of(orders: OrderServiceStub, user: int) -> Iterator[pb.Order]:
    return _every(orders.ListOrders, pb.ListOrdersRequest(user_id=user), "orders")


def _times_returned(orders: OrderServiceStub, order_sn: str) -> int:
    events = _every(orders.GetOrderTimeline, pb.GetOrderTimelineRequest(order_sn=order_sn), "events")
    return sum(event.kind == pb.ORDER_EVENT_KIND_STOCK_RETURNED for event in events)


def _stocks(inventory: InventoryServiceStub) -> Iterator[stock_pb.Stock]:
    return _every(inventory.ListStocks, stock_pb.ListStocksRequest(), "stocks")


def _movements(inventory: InventoryServiceStub, sku: str) -> Iterator[stock_pb.Movement]:
    return _every(inventory.ListMovements, stock_pb.ListMovementsRequest(sku=sku), "movements")


def _sales(inventory: InventoryServiceStub) -> Iterator[stock_pb.Sale]:
    return _every(inventory.ListSales, stock_pb.ListSalesRequest(), "sales")


def _differences(inventory: InventoryServiceStub) -> Iterator[stock_pb.StockDifference]:
    return _every(inventory.AuditStock, stock_pb.AuditStockRequest(), "differences")


def _every(call: Callable[..., Any], request: Any, items: str) -> Iterator[Any]:
    """Every item of a list, page after page; `items` is the field of the answer that has them."""
    request.page_size = _PAGE
    while True:
        answer = call(request, timeout=_TIMEOUT_S)
        yield from getattr(answer, items)
        if not answer.next_page_token:
            return
        request.page_token = answer.next_page_token
