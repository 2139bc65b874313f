"""What is written for several orders at once: each by its own row, all in one transaction."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final, cast

import pytest

from common.database import DatabaseUnavailable
from order_srv.adapters.cart_repository import CartItem
from order_srv.adapters.order_repository import Failed, Opened, OrderRepository, RequestsTaken
from order_srv.adapters.owed_returns import OwedReturns
from order_srv.domain.messages import NamedOrder, Reback
from order_srv.domain.order import Event, EventKind, Order
from order_srv.domain.order_request import RequestKey
from order_srv.domain.order_state import Cause, State
from order_srv.domain.payment import Outcome
from tests.support.order_book import NOW, PAY_WITHIN, OrderBook, order_book

GRACE: Final = timedelta(seconds=60)
LATER: Final = NOW + timedelta(seconds=10)
RETURN_AFTER: Final = timedelta(seconds=30)


@pytest.fixture
def book(tmp_path: Path) -> Iterator[OrderBook]:
    with order_book(tmp_path) as opened:
        opened.orders = OrderRepository(opened.database, return_after=RETURN_AFTER)
        yield opened


def states(book: OrderBook, *orders: Order) -> list[State]:
    statuses = book.orders.statuses([order.order_sn for order in orders])
    return [statuses[order.order_sn].state for order in orders]


def owing(book: OrderBook, now: datetime) -> list[str]:
    """What the sweeper would ask for."""
    return [each.order_sn for each in book.sweep.owed_returns(now, 100)]


def steps(book: OrderBook, order: Order) -> list[EventKind]:
    return [event.kind for event in book.queries.timeline(order.order_sn, 100, "").rows]


def request_of(book: OrderBook, number: int, request_id: str) -> tuple[Order, RequestKey]:
    return replace(book.add(), order_sn=f"new-{number}", user_id=9), RequestKey(request_id, "hash")


# Written down


def test_orders_of_which_one_request_is_taken_are_not_written_and_it_is_named(book: OrderBook) -> None:
    book.orders.add_all([request_of(book, 1, "taken")])
    with pytest.raises(RequestsTaken) as error:
        book.orders.add_all([request_of(book, 2, "free"), request_of(book, 3, "taken")])
    assert error.value.taken == {(9, "taken")}
    assert book.orders.get("new-2") is None
    book.orders.add_all([request_of(book, 2, "free")])


def test_a_request_is_free_again_once_its_order_failed_for_whatever_reason(book: OrderBook) -> None:
    for number, owes in enumerate((True, False)):
        first, key = request_of(book, 2 * number, f"r{number}")
        book.orders.add_all([(first, key)])
        assert book.orders.earlier_order(9, key.request_id) is not None
        book.orders.settle_all({first.order_sn: Failed("NO_STOCK", owes=owes)}, NOW)
        assert book.orders.earlier_order(9, key.request_id) is None
        book.orders.add_all([request_of(book, 2 * number + 1, key.request_id)])


# Settled


def test_each_order_of_a_group_ends_as_it_is_said_and_one_that_ended_before_stays_as_it_is(book: OrderBook) -> None:
    paid, abandoned = book.unpaid(), book.add()
    book.pay(paid)
    book.sweep.fail_abandoned(NOW + timedelta(seconds=1), NOW, 100)
    opened, refused, unclear = book.add(), book.add(), book.add()
    endings: dict[str, Opened | Failed] = {
        opened.order_sn: Opened(opened, [Event(EventKind.SOLD, NOW)], from_cart=False),
        refused.order_sn: Failed("NO_STOCK", owes=False),
        unclear.order_sn: Failed("STOCK_UNCLEAR", owes=True),
        paid.order_sn: Failed("STOCK_UNCLEAR", owes=True),
        abandoned.order_sn: Opened(abandoned, [], from_cart=False),
        "never written": Failed("STOCK_UNCLEAR", owes=True),
    }

    after = book.orders.settle_all(endings, NOW)

    expected = [State.UNPAID, State.FAILED, State.FAILED, State.PAID, State.FAILED]
    orders = (opened, refused, unclear, paid, abandoned)
    assert states(book, *orders) == expected
    assert after == book.orders.statuses([order.order_sn for order in orders]), "as the rows say, and no more"
    assert [after[order.order_sn].owes for order in orders] == [False, False, True, False, True]
    assert steps(book, opened) == [EventKind.CREATED, EventKind.SOLD]
    assert steps(book, refused) == [EventKind.CREATED, EventKind.FAILED]


def test_only_what_was_bought_leaves_the_cart_it_came_from(book: OrderBook) -> None:
    users = range(1, 6)
    for user in users:
        for sku, quantity in (("tea", 2), ("jam", 1), ("mug", 1)):
            book.carts.put(CartItem(user, sku, quantity, selected=True, update_time=NOW))
    bought, changed, failed, by_lines = (book.add(user) for user in users[:4])
    book.carts.put(CartItem(2, "tea", 3, selected=True, update_time=NOW))

    book.orders.settle_all(
        {
            bought.order_sn: Opened(bought, [], from_cart=True),
            changed.order_sn: Opened(changed, [], from_cart=True),
            failed.order_sn: Failed("NO_STOCK", owes=False),
            by_lines.order_sn: Opened(by_lines, [], from_cart=False),
        },
        NOW,
    )

    left = {user: [(item.sku, item.quantity) for item in book.carts.items(user, None, 10)] for user in users}
    everything = [("jam", 1), ("mug", 1), ("tea", 2)]
    assert left == {1: [("mug", 1)], 2: [("mug", 1), ("tea", 3)], 3: everything, 4: everything, 5: everything}


# Closed


def test_a_timeout_closes_what_is_due_by_the_time_of_its_own_row(book: OrderBook) -> None:
    due, extended, paid = book.unpaid(), book.unpaid(), book.unpaid()
    book.pay(paid)
    later = "UPDATE orders SET expire_time = expire_time + 1 WHERE order_sn = ?"
    book.database.write(lambda: book.database.execute(later, (extended.order_sn,)))
    reasons = {order.order_sn: "" for order in (due, extended, paid)}

    after = book.orders.close_all(Cause.TIMEOUT, reasons, NOW + PAY_WITHIN)

    assert states(book, due, extended, paid) == [State.CLOSED, State.UNPAID, State.PAID]
    assert after == book.orders.statuses(list(reasons))
    assert not any(book.orders.close_all(Cause.TIMEOUT, {paid.order_sn: ""}, LATER)[sn].owes for sn in [paid.order_sn])


def test_each_refunded_order_gets_its_own_payment_refunded(book: OrderBook) -> None:
    orders = [book.unpaid() for _ in range(3)]
    payments = [book.pay(order) for order in orders]
    unpaid = book.unpaid()

    book.orders.close_all(
        Cause.REFUND, {order.order_sn: f"why {order.order_sn}" for order in [*orders[:2], unpaid]}, NOW
    )

    assert states(book, *orders, unpaid) == [State.CLOSED, State.CLOSED, State.PAID, State.UNPAID]
    seen = [cast("Order", book.orders.get(order.order_sn)) for order in orders]
    assert [(each.payments[0].payment_id, each.payments[0].outcome) for each in seen] == [
        (payments[0].payment_id, Outcome.REFUND_DUE),
        (payments[1].payment_id, Outcome.REFUND_DUE),
        (payments[2].payment_id, Outcome.APPLIED),
    ]
    assert [each.close_reason for each in seen] == [f"why {order.order_sn}" for order in orders[:2]] + [""]


# Asked about


def test_a_check_back_moves_each_order_and_says_which_is_not_there(book: OrderBook) -> None:
    creating, unpaid, paid = book.add(created=NOW), book.unpaid(), book.unpaid()
    book.pay(paid)
    orders = [NamedOrder(order.order_sn) for order in (creating, unpaid, paid)]
    reback = Reback(Cause.CANCEL, NOW, (*orders, NamedOrder("elsewhere")))

    young = book.orders.answer_check_back(reback, NOW, creating_grace=GRACE)
    assert [status and status.state for status in young.values()] == [State.CREATING, State.CLOSED, State.PAID, None]

    old = book.orders.answer_check_back(reback, NOW + 2 * GRACE, creating_grace=GRACE)
    assert list(old) == [each.order_sn for each in reback.orders]
    assert [status and status.state for status in old.values()] == [State.FAILED, State.CLOSED, State.PAID, None]
    assert [status and status.owes for status in old.values()] == [True, True, False, None]


def test_that_the_broker_asked_is_noted_once_an_order_and_message(book: OrderBook) -> None:
    one, other = book.unpaid(), book.unpaid()
    both = Reback(Cause.CREATE, NOW, (NamedOrder(one.order_sn), NamedOrder(other.order_sn)))
    later = Reback(Cause.CREATE, LATER, (NamedOrder(other.order_sn),))
    for reback in (both, both, later, later, both):
        book.orders.answer_check_back(reback, NOW, creating_grace=GRACE)
    asked = [steps(book, order).count(EventKind.ASKED_BY_BROKER) for order in (one, other)]
    assert asked == [1, 2]


# Owed


def test_only_what_is_dead_and_owes_and_was_not_asked_for_yet_is_hurried(book: OrderBook) -> None:
    owes, asked_for, returned, lives = book.unpaid(), book.unpaid(), book.unpaid(), book.unpaid()
    for order in (owes, asked_for, returned):
        book.cancel(order)
    book.sweep.put_off_return(asked_for.order_sn, NOW + timedelta(hours=1))
    book.sweep.stock_returned([returned.order_sn], NOW)
    assert owing(book, LATER) == []

    book.orders.hurry_returns([order.order_sn for order in (owes, asked_for, returned, lives)], LATER)

    assert owing(book, LATER) == [owes.order_sn]
    assert owing(book, NOW + timedelta(hours=1)) == [owes.order_sn, asked_for.order_sn], "its pause stays"
    book.orders.hurry_returns([owes.order_sn], LATER + GRACE)
    assert owing(book, LATER) == [owes.order_sn], "never put off"


def test_the_sweeper_is_woken_for_what_is_hurried_and_for_nothing_else(book: OrderBook) -> None:
    woken: list[str] = []
    owed = OwedReturns(book.orders, lambda: woken.append("woken"))
    order = book.unpaid()
    book.cancel(order)

    owed.hurry([], LATER)
    assert (woken, owing(book, LATER)) == ([], [])

    owed.hurry([order.order_sn], LATER)
    assert (woken, owing(book, LATER)) == (["woken"], [order.order_sn])


def test_what_can_not_be_hurried_is_returned_later(book: OrderBook, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(_order_sns: Sequence[str], _now: datetime) -> None:
        raise DatabaseUnavailable("gone")

    monkeypatch.setattr(book.orders, "hurry_returns", unreachable)
    woken: list[str] = []
    OwedReturns(book.orders, lambda: woken.append("woken")).hurry(["order"], NOW)
    assert woken == ["woken"]
