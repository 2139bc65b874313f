"""The checker of the books finds what is wrong with them."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from reback.inventory.v1 import inventory_pb2 as stock_pb
from reback.order.v1 import order_pb2 as pb
from tests.support.books import Books, problems_in

SOLD, RETURNED = stock_pb.SALE_STATE_SOLD, stock_pb.SALE_STATE_RETURNED


def movement(kind: "stock_pb.MovementKind.ValueType", delta: int, after: int) -> stock_pb.Movement:
    return stock_pb.Movement(sku="tea", kind=kind, delta=delta, available_after=after)


def order(order_sn: str, state: "pb.OrderState.ValueType", quantity: int = 1, **more: Any) -> pb.Order:
    lines = [pb.OrderLine(sku="tea", quantity=quantity)]
    return pb.Order(order_sn=order_sn, state=state, lines=lines, total_cents=5, currency="EUR", **more)


def sale(order_sn: str, state: "stock_pb.SaleState.ValueType", quantity: int = 1) -> stock_pb.Sale:
    return stock_pb.Sale(order_sn=order_sn, state=state, lines=[stock_pb.SaleLine(sku="tea", quantity=quantity)])


def payment(amount_cents: int = 5, outcome: "pb.PaymentOutcome.ValueType" = pb.PAYMENT_OUTCOME_APPLIED) -> pb.Payment:
    return pb.Payment(payment_id="p", amount_cents=amount_cents, currency="EUR", outcome=outcome)


PAID = order("paid", pb.ORDER_STATE_PAID, payments=[payment()])
GOOD = Books(
    stocks=[stock_pb.Stock(sku="tea", available=8, sold=3)],
    movements=[
        movement(stock_pb.MOVEMENT_KIND_SET, 10, 10),
        movement(stock_pb.MOVEMENT_KIND_ADJUST, 1, 11),
        movement(stock_pb.MOVEMENT_KIND_SELL, -1, 10),
        movement(stock_pb.MOVEMENT_KIND_SELL, -2, 8),
        movement(stock_pb.MOVEMENT_KIND_SELL, -1, 7),
        movement(stock_pb.MOVEMENT_KIND_REBACK, 1, 8),
    ],
    sales=[
        sale("paid", SOLD),
        sale("unpaid", SOLD, 2),
        sale("closed", RETURNED),
        stock_pb.Sale(order_sn="unclear", state=RETURNED),
    ],
    differences=[],
    orders=[
        PAID,
        order("unpaid", pb.ORDER_STATE_UNPAID, 2),
        order("closed", pb.ORDER_STATE_CLOSED),
        order("refused", pb.ORDER_STATE_FAILED, failure_reason="NO_STOCK"),
        order("unclear", pb.ORDER_STATE_FAILED, failure_reason="STOCK_UNCLEAR"),
    ],
    stock_returned=Counter(closed=1, unclear=1),
)


def without_sale(order_sn: str) -> Books:
    return replace(GOOD, sales=[each for each in GOOD.sales if each.order_sn != order_sn])


def with_sale(changed: stock_pb.Sale) -> Books:
    return replace(without_sale(changed.order_sn), sales=[*without_sale(changed.order_sn).sales, changed])


def with_order(changed: pb.Order) -> Books:
    return replace(GOOD, orders=[changed if each.order_sn == changed.order_sn else each for each in GOOD.orders])


def with_stock(available: int, sold: int) -> Books:
    return replace(GOOD, stocks=[stock_pb.Stock(sku="tea", available=available, sold=sold)])


WRONG: dict[str, tuple[Books, str]] = {
    "a unit lost": (with_stock(7, 3), "11 set and adjusted, but 7 available + 3 sold"),
    "a unit sold twice": (with_stock(8, 4), "live orders hold 3, but 4 are sold"),
    "below zero": (with_stock(-1, 12), "below zero"),
    "a movement below zero": (
        replace(GOOD, movements=[*GOOD.movements, movement(stock_pb.MOVEMENT_KIND_SELL, 0, -1)]),
        "left -1",
    ),
    "a movement missing": (replace(GOOD, movements=GOOD.movements[:-1]), "its movements leave 7, but 8"),
    "the audit": (replace(GOOD, differences=[stock_pb.StockDifference(sku="tea")]), "the audit says"),
    "not at rest": (with_order(order("unpaid", pb.ORDER_STATE_CREATING, 2)), "not at rest"),
    "alive without a sale": (without_sale("unpaid"), "alive without a SOLD sale"),
    "alive with a returned sale": (with_sale(sale("unpaid", RETURNED, 2)), "alive without a SOLD sale"),
    "alive with another sale": (with_sale(sale("unpaid", SOLD, 1)), "alive with a sale of other lines"),
    "closed with a sale": (with_sale(sale("closed", SOLD)), "dead, but its sale is still SOLD"),
    "refused with a sale": (with_sale(sale("refused", SOLD)), "dead, but its sale is still SOLD"),
    "closed without a sale": (without_sale("closed"), "inventory never heard of it"),
    "unclear without a sale": (without_sale("unclear"), "inventory never heard of it"),
    "a sale of nobody": (with_sale(sale("nobody", RETURNED)), "nobody's order"),
    "still due": (replace(GOOD, stock_returned=Counter(unclear=1)), "noted as returned 0 times, not 1"),
    "returned twice": (replace(GOOD, stock_returned=Counter(closed=2, unclear=1)), "2 times, not 1"),
    "refused yet returned": (
        replace(GOOD, stock_returned=Counter(closed=1, unclear=1, refused=1)),
        "1 times, not 0",
    ),
    "paid without a payment": (with_order(order("paid", pb.ORDER_STATE_PAID)), "0 payments applied, not 1"),
    "paid twice": (
        with_order(order("paid", pb.ORDER_STATE_PAID, payments=[payment(), payment()])),
        "2 payments applied, not 1",
    ),
    "paid with the wrong amount": (
        with_order(order("paid", pb.ORDER_STATE_PAID, payments=[payment(4)])),
        "the wrong amount",
    ),
    "dead with its payment applied": (
        with_order(order("closed", pb.ORDER_STATE_CLOSED, payments=[payment()])),
        "1 payments applied, not 0",
    ),
}


def test_books_that_balance_have_no_problem() -> None:
    assert problems_in(GOOD) == []


@pytest.mark.parametrize(("books", "problem"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_found(books: Books, problem: str) -> None:
    assert any(problem in found for found in problems_in(books)), problems_in(books)


def test_finished_orders_are_alive() -> None:
    finished = order("paid", pb.ORDER_STATE_FINISHED, payments=[payment()])
    assert problems_in(with_order(finished)) == []
