"""How many rows MariaDB reads for what every order and every round of the sweeper asks: as many as are wanted.

A statement that reads more than it needs also holds more: rows of others, until its transaction ends.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest

from common.database import to_micros
from order_srv.adapters.order_repository import Opened
from order_srv.domain.order_request import RequestKey
from order_srv.domain.order_state import Cause, State
from order_srv.domain.payment import MAX_PAYMENTS, Outcome
from tests.support.order_book import NOW, OrderBook, order_book

MANY: Final = 20_000
TOGETHER: Final = 16
EACH: Final = 3  # orders that a round finds due for each thing it does
LATER: Final = NOW + timedelta(days=1)
BEFORE: Final = NOW - timedelta(days=1)

pytestmark = pytest.mark.parametrize("engine", ["mysql"], indirect=True)


def rows_read(book: OrderBook, work: Callable[[], object]) -> int:
    """How many rows the server reads, from tables and indexes, while this thread does its work."""

    def counted() -> int:
        counters = book.database.execute("SHOW SESSION STATUS WHERE variable_name REGEXP '^Handler_read'").fetchall()
        return sum(int(count) for _, count in counters)

    with book.connection():
        before, asked = counted(), counted()
        work()
        return counted() - asked - (asked - before)


def let_wait(book: OrderBook, how_many: int) -> None:
    """Orders that wait for their payment, are being created, or rest: nothing of theirs is due."""
    pattern = book.unpaid(created=NOW)
    with book.connection() as connection, connection.cursor() as cursor:
        cursor.execute("SHOW COLUMNS FROM orders")
        columns = [row[0] for row in cursor.fetchall()]
        states = "CASE seq % 5 WHEN 0 THEN 'CREATING' WHEN 1 THEN 'PAID' WHEN 2 THEN 'CLOSED' ELSE 'UNPAID' END"
        changed = {"order_sn": "CONCAT(order_sn, '-', seq)", "request_id": "NULL", "state": states}
        cursor.execute(
            f"INSERT INTO orders SELECT {', '.join(changed.get(each, each) for each in columns)}"
            f" FROM orders, seq_1_to_{how_many} WHERE order_sn = '{pattern.order_sn}'"
        )
        cursor.execute("ANALYZE TABLE orders")
        cursor.fetchall()


def sweep(book: OrderBook) -> None:
    assert len(book.sweep.close_overdue(NOW, LATER, 200)) == EACH
    assert len(book.sweep.fail_abandoned(NOW, LATER, 200)) == EACH
    owed = book.sweep.owed_returns(LATER, 200)
    assert len(owed) == 2 * EACH
    book.sweep.stock_returned([each.order_sn for each in owed], LATER)


def test_a_round_of_the_sweeper_reads_what_is_due_however_many_orders_wait(engine: str, tmp_path: Path) -> None:
    with order_book(tmp_path) as book:
        let_wait(book, MANY)
        for _ in range(EACH):
            book.unpaid(created=BEFORE)
            book.add(created=BEFORE)

        assert rows_read(book, lambda: sweep(book)) < 30 * EACH


def test_the_life_of_an_order_reads_its_own_rows(engine: str, tmp_path: Path) -> None:
    with order_book(tmp_path) as book:
        let_wait(book, MANY)

        def life() -> None:
            order = book.unpaid()
            payment = book.pay(order)
            book.orders.close_all(Cause.REFUND, {order.order_sn: ""}, NOW)
            book.payments.mark_refunded(payment.payment_id, "r", NOW)
            assert book.queries.order(order.user_id, order.order_sn).state is State.CLOSED
            assert book.orders.earlier_order(order.user_id, "none") is None

        assert rows_read(book, life) < 70


def many_payments(book: OrderBook, order_sn: str) -> None:
    """Let this order have so many payments that were too late."""
    columns = (
        "payment (payment_id, order_sn, amount_cents, currency, pay_type, paid_time, outcome, add_time, update_time)"
    )
    paid = to_micros(NOW)
    payments = [(f"{order_sn}-{n}", order_sn, 1, "EUR", "", paid, "REFUND_DUE", paid + n, paid) for n in range(MANY)]
    book.database.write(lambda: book.database.insert_many(columns, payments))


def test_an_order_of_many_payments_reads_no_more_than_it_shows(engine: str, tmp_path: Path) -> None:
    with order_book(tmp_path) as book:
        order = book.unpaid()
        book.pay(order)
        many_payments(book, order.order_sn)
        with book.connection() as connection, connection.cursor() as cursor:
            cursor.execute("ANALYZE TABLE payment")
            cursor.fetchall()

        def life() -> None:
            payment = book.pay(order)
            assert book.payments.record(payment, lambda _: (Outcome.APPLIED, None)) == payment
            book.queries.order(order.user_id, order.order_sn)
            book.queries.orders(order.user_id, None, 10, "")
            book.queries.payments(order.order_sn, None, 10, "")
            book.queries.payments(order.order_sn, Outcome.APPLIED, 10, "")
            book.queries.timeline(order.order_sn, 10, "")
            book.orders.close_all(Cause.REFUND, {order.order_sn: ""}, NOW)
            closed = book.orders.get(order.order_sn)
            assert closed is not None
            assert (closed.state, closed.more_payments, len(closed.payments)) == (State.CLOSED, True, MAX_PAYMENTS)

        assert rows_read(book, life) < 400


def test_orders_written_together_read_their_own_rows(engine: str, tmp_path: Path) -> None:
    with order_book(tmp_path) as book:
        let_wait(book, MANY)
        orders = [replace(book.add(), order_sn=f"n{number:025}") for number in range(TOGETHER)]

        def resting_orders() -> None:
            book.orders.add_all([(order, RequestKey(order.order_sn, "hash")) for order in orders])
            book.orders.settle_all({order.order_sn: Opened(order, (), from_cart=False) for order in orders}, NOW)
            book.orders.close_all(Cause.CANCEL, {order.order_sn: "" for order in orders}, NOW)

        assert rows_read(book, resting_orders) < 10 * TOGETHER


def test_a_page_of_a_users_orders_reads_that_page(engine: str, tmp_path: Path) -> None:
    with order_book(tmp_path) as book:
        let_wait(book, MANY)

        def pages() -> None:
            _, token = book.queries.orders(1, None, 10, "")
            assert token
            book.queries.orders(1, None, 10, token)
            book.queries.orders(1, State.UNPAID, 10, "")

        assert rows_read(book, pages) < 300


def test_a_scan_would_be_seen(engine: str, tmp_path: Path) -> None:
    with order_book(tmp_path) as book:
        let_wait(book, MANY)

        assert rows_read(book, lambda: book.database.execute("SELECT COUNT(note) FROM orders").fetchall()) > MANY
