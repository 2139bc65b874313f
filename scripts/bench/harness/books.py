"""Checks the books after a load: stock against sales and movements, orders against sales."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from typing import Final

from reback.inventory.v1.inventory_pb2 import SALE_STATE_RETURNED, SALE_STATE_SOLD, BatchGetSalesRequest, Sale
from reback.order.v1 import order_pb2 as pb
from scripts.lib.books import audit
from scripts.lib.seeding import all_stocks
from scripts.lib.shop import Shop

_PAGE: Final = 1000
_TIMEOUT_S: Final = 60.0
_SETTLED_WITHIN: Final = timedelta(seconds=90)
_LOOK_EVERY_S: Final = 0.5
_LIVE: Final = frozenset({pb.ORDER_STATE_UNPAID, pb.ORDER_STATE_PAID, pb.ORDER_STATE_FINISHED})


@dataclass
class Books:
    """What was compared, and what is wrong.

    Attributes:
        skus: How many skus inventory compared.
        orders: How many orders there are, by state.
        faults: What does not fit, for a person; empty when all is well.
    """

    skus: int = 0
    orders: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)


def check_books(shop: Shop, users: Sequence[int], *, sold_directly: int) -> Books:
    """Wait until every order is at rest and has given back what it owes, then compare everything.

    Args:
        shop: Whose books.
        users: Everybody who ordered.
        sold_directly: Units that were sold without an order.
    """
    deadline = time.monotonic() + _SETTLED_WITHIN.total_seconds()
    while True:
        books = _compare(shop, users, sold_directly)
        if not books.faults or time.monotonic() > deadline:
            return books
        time.sleep(_LOOK_EVERY_S)


def _compare(shop: Shop, users: Sequence[int], sold_directly: int) -> Books:
    books = Books()
    held = 0
    every_order = (order for user in users for order in orders_of(shop, user))
    while orders := list(islice(every_order, _PAGE)):  # not all at once: there may be a hundred thousand
        sales = sales_of(shop, [order.order_sn for order in orders])
        held += sum(line.quantity for order in orders if order.state in _LIVE for line in order.lines)
        for order in orders:
            state = pb.OrderState.Name(order.state).removeprefix("ORDER_STATE_")
            books.orders[state] += 1
            wrong = fault(order, sales.get(order.order_sn))
            if wrong:
                books.faults.append(f"order {order.order_sn} is {state}, {wrong}")
    sold = sum(stock.sold for stock in all_stocks(shop))
    if sold != held + sold_directly:
        books.faults.append(f"{sold} units are sold, but orders hold {held} and {sold_directly} were sold without one")
    audited = audit(shop.inventory)
    books.skus = audited.skus
    books.faults += [f"stock, sales and movements differ: {difference}" for difference in audited.differences]
    return books


def fault(order: pb.Order, sale: Sale | None) -> str:
    """What is wrong between an order and its sale; empty when nothing is."""
    if order.state in _LIVE:
        if sale is None or sale.state != SALE_STATE_SOLD:
            return "but its stock is not sold"
        if {line.sku: line.quantity for line in sale.lines} != {line.sku: line.quantity for line in order.lines}:
            return "but something else was sold"
        return ""
    if order.state in (pb.ORDER_STATE_CLOSED, pb.ORDER_STATE_FAILED):
        return "" if sale is None or sale.state == SALE_STATE_RETURNED else "but its stock is still sold"
    return "which is no state to rest in"


def orders_of(shop: Shop, user: int) -> Iterator[pb.Order]:
    """Every order of a user."""
    token = ""
    while True:
        request = pb.ListOrdersRequest(user_id=user, page_size=_PAGE, page_token=token)
        page = shop.order.ListOrders(request, timeout=_TIMEOUT_S)
        yield from page.orders
        token = page.next_page_token
        if not token:
            return


def sales_of(shop: Shop, order_sns: Sequence[str]) -> dict[str, Sale]:
    """The sales of these orders, by order."""
    found: dict[str, Sale] = {}
    for at in range(0, len(order_sns), _PAGE):
        unread = order_sns[at : at + _PAGE]
        while unread:
            request = BatchGetSalesRequest(order_sns=unread)
            answer = shop.inventory.BatchGetSales(request, timeout=_TIMEOUT_S)
            found |= {sale.order_sn: sale for sale in answer.sales}
            unread = answer.unread_order_sns
    return found
