"""Orders that are written together keep their own outcomes: whatever is wrong with one is told of that one."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from common.batching import NotBatchable
from order_srv.adapters.order_repository import RequestTaken
from order_srv.adapters.order_writer import Add, Close, Open
from order_srv.domain.order import Event, EventKind, Order
from order_srv.domain.order_request import RequestKey
from order_srv.domain.order_state import CloseCause, Closing, State
from tests.support.databases import ENGINES
from tests.support.order_book import NOW, OrderBook, order_book

STEPS = [Event(EventKind.SOLD, NOW)]
TIMED_OUT = Closing(CloseCause.TIMEOUT)

pytestmark = pytest.mark.parametrize("engine", ENGINES, indirect=True)


@pytest.fixture
def book(engine: str, tmp_path: Path) -> Iterator[OrderBook]:
    with order_book(tmp_path) as opened:
        yield opened


def steps_of(book: OrderBook, order: Order) -> list[str]:
    return [event.kind.value for event in book.queries.timeline(order.order_sn, 100, "")[0]]


def test_of_two_new_orders_of_one_request_the_first_is_written(book: OrderBook) -> None:
    pattern = book.add()
    first, second, other = (replace(pattern, order_sn=f"n{number:025}") for number in range(3))
    same = RequestKey("same", "hash")

    states = book.orders.writer.write_batch(
        [Add(first, same), Add(second, same), Add(other, RequestKey("other", "hash"))]
    )

    assert states == [State.CREATING, None, State.CREATING]
    assert book.orders.get(second.order_sn) is None
    earlier = book.orders.earlier_order(first.user_id, "same")
    assert earlier is not None
    assert earlier.order_sn == first.order_sn


def test_a_request_that_has_an_order_is_told_so(book: OrderBook) -> None:
    order = replace(book.add(), order_sn=f"n{1:025}")
    book.orders.add(order, RequestKey("mine", "hash"))
    with pytest.raises(RequestTaken):
        book.orders.add(replace(order, order_sn=f"n{2:025}"), RequestKey("mine", "hash"))


def test_where_one_of_several_can_not_be_moved_nothing_is(book: OrderBook) -> None:
    ready, gone = book.add(), book.add()
    book.orders.fail(gone.order_sn, "ABANDONED", NOW)

    with pytest.raises(NotBatchable):
        book.orders.writer.write_batch([Open(ready, STEPS, NOW, False), Open(gone, STEPS, NOW, False)])

    assert steps_of(book, ready) == ["CREATED"]


def test_an_order_that_can_not_be_moved_is_told_as_its_row_says(book: OrderBook) -> None:
    gone, paid = book.add(), book.unpaid()
    book.orders.fail(gone.order_sn, "ABANDONED", NOW)
    book.pay(paid)

    assert book.orders.open(gone, STEPS, NOW, from_cart=False) is State.FAILED
    assert book.orders.close(paid.order_sn, TIMED_OUT, NOW) is State.PAID
    assert book.orders.close("nobody's", TIMED_OUT, NOW) is None


def test_an_order_opened_and_closed_at_the_same_moment_is_closed_for_both(book: OrderBook) -> None:
    order = book.add()
    states = book.orders.writer.write_batch([Close(order.order_sn, TIMED_OUT, NOW), Open(order, STEPS, NOW, False)])
    assert states == [State.CLOSED, State.CLOSED]
    assert steps_of(book, order) == ["CREATED", "SOLD", "CLOSED"]


def test_one_order_timed_out_twice_and_cancelled_at_once_is_closed_once(book: OrderBook) -> None:
    order = book.unpaid()
    timeout = Close(order.order_sn, TIMED_OUT, NOW)
    cancel = Close(order.order_sn, Closing(CloseCause.CANCEL, "not mine"), NOW)

    assert book.orders.writer.write_batch([timeout, timeout, cancel]) == [State.CLOSED] * 3

    closed = book.orders.get(order.order_sn)
    assert closed is not None
    assert closed.close_cause is CloseCause.TIMEOUT
    assert steps_of(book, order).count("CLOSED") == 1


def test_many_at_once_among_them_some_that_can_not_be_moved(book: OrderBook) -> None:
    orders = [book.add() for _ in range(24)]
    for order in orders[::3]:
        book.orders.fail(order.order_sn, "ABANDONED", NOW)

    with ThreadPoolExecutor(len(orders)) as pool:
        states = list(pool.map(lambda order: book.orders.open(order, STEPS, NOW, from_cart=False), orders))

    assert states == [State.FAILED if number % 3 == 0 else State.UNPAID for number in range(len(orders))]
    assert [len(steps_of(book, order)) for order in orders] == [2] * len(orders)
