"""One group of creates on a database of its own, with an inventory and a broker that a test scripts."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from math import inf
from pathlib import Path
from typing import Any, Final, cast

import pytest

from common.batching import Call
from common.crash_points import no_crash
from common.database import DatabaseUnavailable
from common.deadline import Deadline
from common.errors import DeadlineExceeded, FailedPrecondition, Unavailable, Violation
from common.messaging.port import Confirm, Decide, Message, Resolution
from common.rpc.errors import to_status
from order_srv.adapters.order_repository import RequestsTaken
from order_srv.adapters.owed_returns import OwedReturns
from order_srv.domain.errors import OrderFailed
from order_srv.domain.messages import Reback
from order_srv.domain.new_order import MOST_LINES, NewOrder
from order_srv.domain.order import Order, Recipient
from order_srv.domain.order_request import OrderRequest
from order_srv.domain.order_state import State
from order_srv.use_cases.create_group import CreateGroup, NotWritten
from order_srv.use_cases.create_pricing import CreatePricing
from reback.inventory.v1 import inventory_pb2 as pb
from tests.support.failed_call import answered
from tests.support.manual_clock import ManualClock
from tests.support.order_book import NOW, PAY_WITHIN, OrderBook, order_book
from tests.support.scripted_inventory import ScriptedInventory
from tests.support.waiting import TIMEOUT_S

NewCall = Call[NewOrder, Order]

SHORT: Final = FailedPrecondition("short", reason="NO_STOCK", violations=[Violation("jam", "none", "NO_STOCK")])


def sold(request: pb.SellRequest) -> pb.Sale:
    return pb.Sale(order_sn=request.order_sn, state=pb.SALE_STATE_SOLD)


def sold_but_jam(request: pb.BatchSellRequest) -> pb.BatchSellResponse:
    def result(sell: pb.SellRequest) -> pb.SellResult:
        if any(line.sku == "jam" for line in sell.lines):
            return pb.SellResult(order_sn=sell.order_sn, error=to_status(SHORT, "inventory"))
        return pb.SellResult(order_sn=sell.order_sn, sale=sold(sell))

    return pb.BatchSellResponse(results=map(result, request.sells))


class NotingBroker:
    """Takes everything.

    Attributes:
        halves: The half messages.
        resolutions: What was said of them.
        before_sell: Called when a group's timeout is begun.
    """

    def __init__(self) -> None:
        self.halves: list[Reback] = []
        self.resolutions: list[Resolution] = []
        self.before_sell: Callable[[], object] = lambda: None

    def in_transaction(self, message: Message, decide: Decide) -> Resolution:
        self.halves.append(Reback.from_message(message))
        self.resolutions.append(decide())
        return self.resolutions[-1]

    def begin_publish_later(self, _message: Message, _delay: timedelta) -> Confirm:
        self.before_sell()
        return lambda: None


class Shop:
    """What a group is carried out with."""

    def __init__(self, book: OrderBook) -> None:
        self.book = book
        self.inventory = ScriptedInventory(
            Sell=sold, BatchSell=sold_but_jam, BatchGetSales=pb.BatchGetSalesResponse(), BatchGetStocks=none_of_jam
        )
        self.broker = NotingBroker()
        self.woken: list[str] = []
        self._users = 0
        clock = ManualClock(NOW)
        self.group = CreateGroup(
            orders=book.orders,
            pricing=CreatePricing(goods=book.goods, carts=book.carts, clock=clock, pay_within=PAY_WITHIN),
            stock=self.inventory.client(),
            broker=cast("Any", self.broker),
            clock=clock,
            owed_returns=OwedReturns(book.orders, lambda: self.woken.append("woken")),
            crash_hook=no_crash,
        )
        for sku in ("tea", "jam"):
            book.put_goods(sku)

    def call(self, *skus: str, deadline: Deadline | None = None) -> NewCall:
        """Another user's, of one of each sku; without any, of the cart."""
        self._users += 1
        request = OrderRequest(self._users, "r", tuple((sku, 1) for sku in skus), Recipient("Ada", "1", "here"))
        deadline = deadline or Deadline.after(TIMEOUT_S)
        return Call(NewOrder(request, deadline), deadline)

    def failed(self, call: NewCall) -> tuple[str, bool]:
        """Why the order of a call failed, and whether it owes its stock."""
        columns = "SELECT state, failure_reason, return_due FROM orders WHERE user_id = ?"
        with self.book.database.reading():
            (row,) = self.book.database.execute(columns, (call.item.request.user_id,)).fetchall()
        assert row[0] == State.FAILED
        return row[1], row[2] is not None

    def written(self) -> int:
        with self.book.database.reading():
            return int(self.book.database.execute("SELECT COUNT(*) FROM orders").fetchone()[0])


def none_of_jam(request: pb.BatchGetStocksRequest) -> pb.BatchGetStocksResponse:
    return pb.BatchGetStocksResponse(stocks=[pb.Stock(sku=sku, available=0) for sku in request.skus if sku == "jam"])


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with order_book(tmp_path) as book:
        yield Shop(book)


def state(call: NewCall) -> State:
    return call.result().state


def error(call: NewCall) -> Exception:
    with pytest.raises(Exception) as raised:
        call.result()
    return raised.value


# Carts with many lines


def test_a_group_whose_carts_have_too_many_lines_is_cut_and_every_caller_is_answered(shop: Shop) -> None:
    skus = [f"sku-{number:03}" for number in range(100)]
    for sku in skus:
        shop.book.put_goods(sku)
    calls = [shop.call() for _ in range(2 * MOST_LINES // 100 + 2)]
    selected = [(call.item.request.user_id, sku, 1, 1, 0, 0) for call in calls for sku in skus]
    into = "cart_item (user_id, sku, quantity, selected, add_time, update_time)"
    shop.book.database.write(lambda: shop.book.database.insert_many(into, selected))

    shop.group.execute(calls)

    assert [state(call) for call in calls] == [State.UNPAID] * 22
    assert [len(half.orders) for half in shop.broker.halves] == [10, 10, 2]
    assert [len(sell.sells) for sell in shop.inventory.asked("BatchSell")] == [10, 10, 2]
    bought = [call.result().order_sn for call in calls]
    assert [each.order_sn for half in shop.broker.halves for each in half.orders] == bought


# Deadlines of a group


def test_a_caller_that_is_gone_leaves_the_look_at_what_is_short_its_time(shop: Shop) -> None:
    shop.inventory.answer("Sell", answered(SHORT))
    shop.group.execute([shop.call("jam")])  # from now on it is known
    gone, waits, other = shop.call("tea"), shop.call("jam"), shop.call("jam")
    gone.deadline.cancel()

    shop.group.execute([gone, waits, other])

    assert isinstance(error(gone), DeadlineExceeded)
    assert [type(error(call)) for call in (waits, other)] == [NotWritten, NotWritten]
    assert shop.inventory.timeouts("BatchGetStocks") == [1.0]
    assert (len(shop.broker.halves), shop.written()) == (1, 1)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sell may take as long as its callers wait."""
    monkeypatch.setattr("order_srv.adapters.sell_time_limit._AT_FIRST_S", inf)


@pytest.mark.usefixtures("patient")
def test_a_sell_may_take_what_the_shortest_who_still_waits_has_less_what_is_kept_back(shop: Shop) -> None:
    gone, short, long = (shop.call("tea", deadline=Deadline.after(seconds)) for seconds in (100, 200, 300))
    shop.broker.before_sell = gone.deadline.cancel
    shop.group.execute([gone, short, long])
    assert [state(short), state(long)] == [State.UNPAID, State.UNPAID]
    (timeout,) = shop.inventory.timeouts("BatchSell")
    assert 100 < timeout <= 199


class HangsUpLate(Deadline):
    """Of a caller who is there when it is looked at the last time before the sell, and gone right after."""

    armed = False

    @property
    def passed(self) -> bool:
        passed = super().passed
        if self.armed:
            self.cancel()
        return passed


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("seconds", [150, 300])
def test_a_caller_that_hangs_up_as_the_sell_begins_changes_nothing_for_the_others(shop: Shop, seconds: int) -> None:
    late = HangsUpLate(Deadline.after(seconds).at)
    leaver, stays = shop.call("tea", deadline=late), shop.call("tea", deadline=Deadline.after(200))

    def arm() -> None:
        late.armed = True

    shop.broker.before_sell = arm
    shop.group.execute([leaver, stays])
    assert late.cancelled
    assert leaver.settled
    assert state(stays) is State.UNPAID
    (timeout,) = shop.inventory.timeouts("BatchSell")
    assert 100 < timeout <= min(seconds, 200) - 1


# One by one


def of(call: NewCall, orders: Sequence[tuple[Order, Any]]) -> bool:
    return any(order.user_id == call.item.request.user_id for order, _ in orders)


@pytest.mark.parametrize("failure", [DatabaseUnavailable("gone"), ArithmeticError("bad row"), RequestsTaken(set())])
def test_one_that_can_not_be_written_even_alone_leaves_the_others_alone(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    first, bad, last = calls = [shop.call("tea") for _ in range(3)]
    add_all = shop.book.orders.add_all

    def fails(orders: Any) -> None:
        if len(orders) > 1:
            raise ArithmeticError("one of them")
        if of(bad, orders):
            raise failure
        add_all(orders)

    monkeypatch.setattr(shop.book.orders, "add_all", fails)
    shop.group.execute(calls)
    assert [state(first), state(last)] == [State.UNPAID, State.UNPAID]
    assert isinstance(error(bad), Unavailable if isinstance(failure, RequestsTaken) else type(failure))
    assert [len(half.orders) for half in shop.broker.halves] == [2]


@pytest.mark.parametrize("together", [1, 3])
def test_requests_that_others_write_again_and_again_are_unavailable(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, together: int
) -> None:
    def taken(_orders: Any) -> None:
        raise RequestsTaken(set())  # by one that has failed by now

    monkeypatch.setattr(shop.book.orders, "add_all", taken)
    with pytest.raises(Unavailable) as raised:
        shop.group.execute([shop.call("tea") for _ in range(together)])
    assert raised.value.reason == "REQUESTS_CONTENDED"
    assert shop.broker.halves == []


# Callers that are gone before the sell


def hang_up_before_the_sell(shop: Shop, leavers: Sequence[NewCall], others: Sequence[NewCall] = ()) -> None:
    def hang_up() -> None:
        for leaver in leavers:
            leaver.deadline.cancel()

    shop.broker.before_sell = hang_up
    shop.group.execute([*leavers, *others])
    for leaver in leavers:
        assert shop.failed(leaver) == ("CALLER_GONE", False)
        told = error(leaver)
        assert isinstance(told, OrderFailed)
        assert told.metadata["failure_reason"] == "CALLER_GONE"


@pytest.mark.parametrize("count", [1, 2])
def test_whoever_is_gone_owes_nothing_and_inventory_is_not_asked(shop: Shop, count: int) -> None:
    hang_up_before_the_sell(shop, [shop.call("tea") for _ in range(count)])
    assert shop.broker.resolutions == [Resolution.ROLLBACK]
    assert (shop.inventory.calls, shop.woken) == ([], [])


def test_whoever_is_gone_beside_one_that_is_refused_owes_nothing(shop: Shop) -> None:
    refused, other = shop.call("jam"), shop.call("jam")
    hang_up_before_the_sell(shop, [shop.call("tea")], [refused, other])
    assert [shop.failed(call) for call in (refused, other)] == [("NO_STOCK", False)] * 2
    assert (shop.broker.resolutions, shop.woken) == ([Resolution.ROLLBACK], [])
    (sell,) = shop.inventory.asked("BatchSell")
    assert len(sell.sells) == 2


def test_whoever_is_gone_beside_one_that_is_sold_owes_nothing_either(shop: Shop) -> None:
    other = shop.call("tea")
    hang_up_before_the_sell(shop, [shop.call("tea")], [other])
    assert state(other) is State.UNPAID
    assert (shop.broker.resolutions, shop.woken) == ([Resolution.ROLLBACK], [])
    assert len(shop.inventory.asked("Sell")) == 1
