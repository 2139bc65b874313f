"""No list, look-up or round of the sweeper reads more rows than it needs, however many there are."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from order_srv.adapters.order_repository import Failed, Opened
from order_srv.domain.messages import NamedOrder, Reback
from order_srv.domain.order_state import Cause, State
from order_srv.domain.payment import Outcome
from tests.support.order_book import NOW, PAY_WITHIN, OrderBook, order_book

LATER = NOW + PAY_WITHIN + timedelta(hours=1)


@pytest.fixture
def book(tmp_path: Path) -> Iterator[OrderBook]:
    with order_book(tmp_path) as opened:
        yield opened


def first_and_second_page(page: Callable[[str], tuple[object, str]]) -> None:
    _, token = page("")
    assert token, "there is a second page"
    page(token)


def list_orders(book: OrderBook) -> None:
    first_and_second_page(lambda token: book.queries.orders(1, None, 2, token))


def list_orders_by_state(book: OrderBook) -> None:
    first_and_second_page(lambda token: book.queries.orders(1, State.UNPAID, 2, token))


def list_payments_by_outcome(book: OrderBook) -> None:
    first_and_second_page(lambda token: book.queries.payments("", Outcome.REFUND_DUE, 2, token))


def list_payments_of_an_order(book: OrderBook) -> None:
    order = book.unpaid()
    for _ in range(3):
        book.pay(order)
    first_and_second_page(lambda token: book.queries.payments(order.order_sn, None, 2, token))


def list_payments_of_an_order_by_outcome(book: OrderBook) -> None:
    order = book.unpaid()
    for _ in range(4):
        book.pay(order)
    first_and_second_page(lambda token: book.queries.payments(order.order_sn, Outcome.REFUND_DUE, 2, token))


def list_payments(book: OrderBook) -> None:
    first_and_second_page(lambda token: book.queries.payments("", None, 2, token))


def timeline(book: OrderBook) -> None:
    order = book.unpaid()
    first_and_second_page(lambda token: book.queries.timeline(order.order_sn, 1, token))


def list_goods(book: OrderBook) -> None:
    book.goods.page(None, 2)
    book.goods.page("tea", 2)


def find_goods(book: OrderBook) -> None:
    book.goods.find(["tea", "jam", "sugar"])


def list_cart(book: OrderBook) -> None:
    book.carts.items(1, None, 2)
    book.carts.items(1, "tea", 2)


def selected_in_cart(book: OrderBook) -> None:
    book.carts.selected([1, 2], 101)


def empty_cart(book: OrderBook) -> None:
    book.carts.delete(1, ["tea", "jam"])


def look_a_request_up(book: OrderBook) -> None:
    book.orders.earlier_order(1, "r1")


def get_order(book: OrderBook) -> None:
    order = book.unpaid()
    book.orders.get(order.order_sn)
    book.queries.order(1, order.order_sn)


def close_overdue(book: OrderBook) -> None:
    assert book.sweep.close_overdue(LATER, LATER, 200)


def fail_abandoned(book: OrderBook) -> None:
    assert book.sweep.fail_abandoned(LATER, LATER, 200)


def owed_returns(book: OrderBook) -> None:
    owed = book.sweep.owed_returns(LATER, 200)
    assert owed
    book.sweep.stock_returned([each.order_sn for each in owed], LATER)
    book.sweep.put_off_return(owed[0].order_sn, LATER)


def whole_life(book: OrderBook) -> None:
    order = book.unpaid()
    payment = book.pay(order)
    book.pay(order)
    book.refund(order)
    book.payments.mark_refunded(payment.payment_id, "r", NOW)
    book.orders.finish(order.order_sn, NOW)


def a_group(book: OrderBook) -> None:
    opened, failed, closed = book.add(), book.add(), book.unpaid()
    bought, unclear = Opened(opened, [], from_cart=True), Failed("STOCK_UNCLEAR", owes=True)
    book.orders.settle_all({opened.order_sn: bought, failed.order_sn: unclear}, NOW)
    order_sns = [order.order_sn for order in (opened, failed, closed)]
    book.orders.statuses(order_sns)
    book.orders.close_all(Cause.CANCEL, dict.fromkeys(order_sns, ""), NOW)
    book.orders.hurry_returns(order_sns, NOW)


def ask_about_a_group(book: OrderBook) -> None:
    orders = tuple(NamedOrder(order.order_sn) for order in (book.unpaid(), book.add(), book.unpaid()))
    book.orders.answer_check_back(Reback(Cause.CANCEL, NOW, orders), LATER, creating_grace=timedelta(seconds=1))


BY_INDEX = [
    list_orders,
    list_orders_by_state,
    list_payments_by_outcome,
    list_payments_of_an_order,
    list_payments_of_an_order_by_outcome,
    timeline,
    find_goods,
    list_cart,
    selected_in_cart,
    empty_cart,
    look_a_request_up,
    get_order,
    close_overdue,
    fail_abandoned,
    owed_returns,
    whole_life,
    a_group,
    ask_about_a_group,
]
IN_ORDER = [list_payments, list_goods]
"""Lists of everything: their first page walks an index from its end, as far as the page is long."""


@pytest.fixture
def filled(book: OrderBook) -> OrderBook:
    """A few of everything."""
    for _ in range(4):
        book.add()
        order = book.unpaid()
        book.cancel(order)
        book.pay(order)
        book.unpaid()
        book.pay(book.unpaid())
    for sku in ("tea", "jam", "sugar"):
        book.put_goods(sku)
    return book


def plans_of(book: OrderBook, work: Callable[[OrderBook], object]) -> dict[str, list[str]]:
    """The plan of each statement that reads or changes rows."""
    statements = [
        statement
        for statement in book.statements_of(lambda: work(book))
        if statement.startswith(("SELECT", "UPDATE", "DELETE"))
    ]
    assert statements, "nothing was asked of the database"
    return {statement: book.plan_of(statement) for statement in statements}


@pytest.mark.parametrize("work", BY_INDEX)
def test_what_is_looked_for_is_found_by_an_index(filled: OrderBook, work: Callable[[OrderBook], object]) -> None:
    for statement, plan in plans_of(filled, work).items():
        subqueries = {f"SCAN {step.split()[1]}" for step in plan if step.startswith("CO-ROUTINE")}  # rows found already
        looked_up = [step for step in plan if step.startswith(("SEARCH", "SCAN")) and step not in subqueries]
        assert looked_up, statement
        assert all(step.startswith("SEARCH") for step in looked_up), f"{statement}\n{plan}"
        assert not any("TEMP B-TREE" in step for step in plan), f"{statement}\n{plan}"


@pytest.mark.parametrize("work", [whole_life, a_group, ask_about_a_group, close_overdue, fail_abandoned])
def test_orders_are_moved_by_their_numbers_not_by_their_state(
    filled: OrderBook, work: Callable[[OrderBook], object]
) -> None:
    plans = plans_of(filled, work)
    moves = {statement: plan for statement, plan in plans.items() if statement.startswith("UPDATE orders")}
    assert moves
    for statement, plan in moves.items():
        assert len(plan) == 1
        assert plan[0].endswith("(order_sn=?)"), f"{statement}\n{plan}"


@pytest.mark.parametrize("work", IN_ORDER)
def test_a_list_of_everything_comes_in_the_order_of_an_index(
    filled: OrderBook, work: Callable[[OrderBook], object]
) -> None:
    for statement, plan in plans_of(filled, work).items():
        assert "LIMIT" in statement
        assert all("USING INDEX" in step for step in plan), f"{statement}\n{plan}"
        assert not any("TEMP B-TREE" in step for step in plan), f"{statement}\n{plan}"


def test_a_full_scan_would_be_seen(filled: OrderBook) -> None:
    assert filled.plan_of("SELECT * FROM orders WHERE note = 'x'") == ["SCAN orders"]
    assert "USE TEMP B-TREE FOR ORDER BY" in filled.plan_of("SELECT * FROM orders WHERE user_id = 1 ORDER BY note")


def cost_of_a_round(book: OrderBook) -> int:
    """What a round of the sweeper costs in which three orders are due for each thing it does."""
    now = NOW + timedelta(days=1)
    for _ in range(3):
        book.unpaid(created=NOW - timedelta(days=1))
        book.add(created=NOW - timedelta(days=1))

    def sweep() -> None:
        assert len(book.sweep.close_overdue(NOW, now, 200)) == 3
        assert len(book.sweep.fail_abandoned(NOW, now, 200)) == 3
        owed = book.sweep.owed_returns(now, 200)
        assert len(owed) == 6
        book.sweep.stock_returned([each.order_sn for each in owed], now)

    return book.instructions_of(sweep)


def let_wait(book: OrderBook, how_many: int) -> None:
    """Orders that wait for their payment, are being created, or rest: nothing of theirs is due."""
    pattern = book.unpaid(created=NOW)
    with book.connection() as connection:
        columns = [row[1] for row in connection.execute("PRAGMA table_info(orders)")]
        changed = {"order_sn": "order_sn || '-' || n", "request_id": "NULL", "state": "state_n"}
        states = "CASE n % 5 WHEN 0 THEN 'CREATING' WHEN 1 THEN 'PAID' WHEN 2 THEN 'CLOSED' ELSE 'UNPAID' END"
        connection.execute(
            f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {how_many}),"
            f" states AS (SELECT n, {states} AS state_n FROM numbers)"
            f" INSERT INTO orders SELECT {', '.join(changed.get(each, each) for each in columns)}"
            f" FROM orders, states WHERE order_sn = '{pattern.order_sn}'"
        )
        connection.commit()


def test_a_round_of_the_sweeper_costs_the_same_however_many_orders_wait(tmp_path: Path) -> None:
    costs = {}
    for waiting in (100, 5_000):
        (tmp_path / str(waiting)).mkdir()
        with order_book(tmp_path / str(waiting)) as book:
            let_wait(book, waiting)
            cost_of_a_round(book)
            costs[waiting] = cost_of_a_round(book)
    assert 1_000 < costs[100] < 20_000
    assert abs(costs[5_000] - costs[100]) < costs[100] * 0.05, costs
