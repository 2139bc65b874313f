"""Which orders of one moment are created together."""

from itertools import count
from typing import Final

import pytest

from common.deadline import Deadline
from order_srv.domain.new_order import MOST_LINES, MOST_ORDERS, NewOrder, fits
from order_srv.domain.order import Recipient
from order_srv.domain.order_request import OrderRequest

WAITS: Final = 10.0
HURRIED: Final = 0.2

_users = count(1)


def new_order(lines: int = 1, *, user: int | None = None, request_id: str = "r", seconds: float = WAITS) -> NewOrder:
    """Without a user it is another user's each time."""
    bought = tuple((f"sku-{number}", 1) for number in range(lines))
    request = OrderRequest(user or next(_users), request_id, bought, Recipient("Ada", "1", "here"))
    return NewOrder(request, Deadline.after(seconds))


def of_cart(**more: str | float) -> NewOrder:
    return new_order(0, **more)  # type: ignore[arg-type]


def grouped(*orders: NewOrder) -> list[NewOrder]:
    """Those of these orders that one group takes, asked as it asks: in the order in which they came."""
    group: list[NewOrder] = []
    for order in orders:
        if fits(group, order):
            group.append(order)
    return group


def test_orders_of_one_user_by_lines_and_by_cart_go_together() -> None:
    orders = [new_order(user=1, request_id="a"), new_order(user=1, request_id="b"), of_cart(user=1, request_id="c")]
    assert grouped(*orders) == orders


@pytest.mark.parametrize("lines", [0, 1])
def test_a_request_that_comes_twice_is_not_taken_twice(lines: int) -> None:
    first, other, again = (new_order(lines, user=user) for user in (1, 2, 1))
    assert grouped(first, other, again) == [first, other]


def test_two_carts_of_one_user_do_not_go_together() -> None:
    first, other, second = of_cart(user=1, request_id="a"), of_cart(user=2), of_cart(user=1, request_id="b")
    assert grouped(first, other, second) == [first, other]


def test_those_in_a_hurry_and_those_who_have_time_do_not_go_together() -> None:
    slow, quick = [new_order() for _ in range(3)], [new_order(seconds=HURRIED) for _ in range(3)]
    assert grouped(slow[0], quick[0], slow[1], quick[1], slow[2]) == slow
    assert grouped(quick[0], slow[0], quick[1], slow[1], quick[2]) == quick


def test_whoever_is_gone_joins_none_who_wait() -> None:
    gone, waits = new_order(), new_order()
    gone.deadline.cancel()
    assert grouped(waits, gone) == [waits]


@pytest.mark.parametrize("seconds", [HURRIED, WAITS])
def test_as_many_as_inventory_takes_are_one_group(seconds: float) -> None:
    orders = [new_order(seconds=seconds) for _ in range(MOST_ORDERS)]
    assert grouped(*orders) == orders


def test_so_many_carts_are_one_group_too() -> None:
    orders = [of_cart() for _ in range(MOST_ORDERS)]
    assert grouped(*orders) == orders


def test_their_lines_are_never_more_than_inventory_takes() -> None:
    orders = [new_order(MOST_LINES // 10) for _ in range(9)]
    last, one_more = new_order(MOST_LINES // 10), new_order(MOST_LINES // 10 + 1)
    assert grouped(*orders, one_more, last) == [*orders, last]
    assert grouped(*orders, last, new_order()) == [*orders, last]


def test_one_alone_is_taken_whatever_it_is() -> None:
    order = new_order(seconds=0)
    assert grouped(order) == [order]
