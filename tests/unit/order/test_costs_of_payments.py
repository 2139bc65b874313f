"""What an order's payments cost: as much for the ten thousandth as for the thirtieth."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final, NoReturn

import pytest

from common.database import to_micros
from order_srv.adapters.payment_repository import Payable
from order_srv.domain.order import Order
from order_srv.domain.payment import MAX_PAYMENTS, Outcome
from tests.support.order_book import NOW, OrderBook, order_book

FEW: Final = MAX_PAYMENTS + 10
MANY: Final = 10_000


@pytest.fixture
def book(tmp_path: Path) -> Iterator[OrderBook]:
    with order_book(tmp_path) as opened:
        yield opened


def paid_often(book: OrderBook, user: int, times: int) -> Order:
    """An order with its applied payment, the oldest, and so many that came too late; other orders have as many."""
    order = book.unpaid(user)
    book.pay(order)
    columns = (
        "payment (payment_id, order_sn, amount_cents, currency, pay_type, paid_time, outcome, add_time, update_time)"
    )
    of_order, time = order.order_sn, to_micros(NOW)
    rows = [(f"{of_order}-{n}", of_order, 1, "EUR", "", time, "REFUND_DUE", time + 1 + n, time) for n in range(times)]
    others = [(f"other-{user}-{n}", f"other-{n}", 1, "EUR", "", time, "APPLIED", time, time) for n in range(times)]
    book.database.write(lambda: book.database.insert_many(columns, [*rows, *others]))
    return order


def decides_nothing(_: Payable | None) -> NoReturn:
    raise AssertionError("what was recorded before stays as it is")


def pay_again(book: OrderBook, order: Order) -> None:
    payment = book.pay(order)
    assert book.payments.record(replace(payment, create_time=NOW), decides_nothing) == payment


def get(book: OrderBook, order: Order) -> None:
    seen = book.orders.get(order.order_sn)
    assert seen is not None
    assert (len(seen.payments), seen.more_payments) == (MAX_PAYMENTS, True)
    assert seen.payments[0].outcome is Outcome.APPLIED


def list_orders(book: OrderBook, order: Order) -> None:
    book.queries.orders(order.user_id, None, 10, "")


def list_payments(book: OrderBook, order: Order) -> None:
    page, token = book.queries.payments(order.order_sn, None, 10, "")
    assert len(page) == 10
    book.queries.payments(order.order_sn, None, 10, token)


def list_applied(book: OrderBook, order: Order) -> None:
    assert len(book.queries.payments(order.order_sn, Outcome.APPLIED, 10, "")[0]) == 1


def timeline(book: OrderBook, order: Order) -> None:
    book.queries.timeline(order.order_sn, 10, "")


def refund(book: OrderBook, order: Order) -> None:
    book.refund(order)


@pytest.mark.parametrize("do", [pay_again, get, list_orders, list_payments, list_applied, timeline, refund])
def test_an_order_of_many_payments_costs_what_one_of_few_does(
    book: OrderBook, do: Callable[[OrderBook, Order], None]
) -> None:
    few = paid_often(book, 1, FEW)
    cost_of_few = book.instructions_of(lambda: do(book, few))

    many = paid_often(book, 2, MANY)

    assert book.instructions_of(lambda: do(book, many)) < 1.3 * cost_of_few
