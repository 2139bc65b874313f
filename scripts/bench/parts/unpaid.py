"""Orders that nobody pays: how late each is closed, and very many that are due at once."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from common.deadline import Deadline
from reback.order.v1 import order_pb2 as pb
from scripts.bench.harness.books import orders_of, sales_of
from scripts.bench.harness.figures import Target, percentile
from scripts.bench.harness.load import Kind, Measured
from scripts.bench.harness.testbed import Testbed
from scripts.bench.harness.worlds import CLUSTER, EMBEDDED, NATIVE, Servers
from scripts.lib.shop import PATIENCE_S

_POLL_S: Final = 0.5
_ASKED_AT_ONCE: Final = 1000
_MS: Final = 1000.0
_GIVE_UP_AFTER_S: Final = 300.0  # of waiting for all to be closed, or without any stock coming back

_LATENESS_PAY_WITHIN_S: Final = 5
_FEW: Final = 10
_LATENESS_RATE: Final = 50.0
_LATENESS_SECONDS: Final = 20.0
_LATEST_MS: Final = {EMBEDDED: 1000, CLUSTER: 2000}  # RocketMQ's client knows whole seconds

_TRIED_S: Final = 10.0
_SLOWER: Final = 1.25  # than when it was tried: for so much longer the orders wait for their payment
_MEANWHILE_RATE: Final = 55.0  # offered, a little more than must be reached
_MEANWHILE_SLICE_S: Final = 5.0
_IN_A_MINUTE: Final = 10_000
_CLOSED: Final = Target(at_least=150, aim=300)
_NATIVE: Final = Target(at_least=300, aim=600)


def lateness(testbed: Testbed) -> None:
    """Let orders go unpaid, a few at a time, and see how late each is closed and its stock is back."""
    _restart_order(testbed, {"ORDER_PAY_WITHIN": str(_LATENESS_PAY_WITHIN_S)})
    users = testbed.new_users(_FEW)
    testbed.load(testbed.paced(Kind.CREATE, testbed.skus, _LATENESS_RATE, _LATENESS_SECONDS, users))
    _wait_until_closed(testbed, users)
    orders = [order for user in users for order in orders_of(testbed.shop, user)]
    sales = sales_of(testbed.shop, [order.order_sn for order in orders])
    closed = [_since(order.expire_time, order.close_time) * _MS for order in orders]
    back = [_since(order.expire_time, sales[order.order_sn].return_time) * _MS for order in orders]
    for name, late in (("order closed", sorted(closed)), ("its stock back", sorted(back))):
        testbed.figure(f"{name}, earliest", late[0], "ms", len(late), Target(at_least=0))
        testbed.figure(f"{name}, p50", percentile(late, 0.5), "ms", len(late))
        testbed.figure(
            f"{name}, p99", percentile(late, 0.99), "ms", len(late), Target(at_most=_LATEST_MS[testbed.world.name])
        )


def due_at_once(testbed: Testbed) -> None:
    """Let very many orders come due while the order service is down; it starts again, and others go on ordering."""
    count = testbed.options.due_orders
    tried = testbed.load(replace(testbed.full_speed(Kind.CREATE, testbed.skus), seconds=_TRIED_S))
    pay_within = round(_SLOWER * count / tried.rate) + 5  # none of them is due before the last is created
    _restart_order(testbed, {"ORDER_PAY_WITHIN": str(pay_within)})
    users = testbed.new_users(1)
    testbed.say(f"  creating {count:,} orders")
    testbed.load(replace(testbed.full_speed(Kind.CREATE, testbed.skus, users=users), count=count))
    due = [_seconds(order.expire_time) for user in users for order in orders_of(testbed.shop, user)]
    if min(due) < time.time():
        raise RuntimeError("creating the orders took so long that some came due before they were all created")
    testbed.stop("order")
    testbed.say(f"  order_srv is stopped until all {len(due):,} are due, in {max(due) - time.time():.0f} s")
    time.sleep(max(0.0, max(due) - time.time()))
    testbed.start({}, "order")
    began = time.time()
    meanwhile = _order_until(testbed, lambda: _all_closed(testbed, users))
    _wait_until_closed(testbed, users)
    orders = [order for user in users for order in orders_of(testbed.shop, user)]
    sales = sales_of(testbed.shop, [order.order_sn for order in orders])
    closed = max(_seconds(order.close_time) for order in orders) - began
    back = max(_seconds(sale.return_time) for sale in sales.values()) - began
    a_minute = Target(at_most=60) if len(orders) <= _IN_A_MINUTE else None
    testbed.figure("all orders closed after", closed, "s", len(orders), a_minute)
    testbed.figure("all their stock back after", back, "s", len(sales))
    native = isinstance(testbed.world, Servers) and testbed.world.client == NATIVE
    testbed.figure("orders closed", len(orders) / closed, "a second", len(orders), _NATIVE if native else _CLOSED)
    testbed.figure("their stock back", len(sales) / back, "a second", len(sales))
    samples = len(meanwhile.latencies)
    testbed.figure("meanwhile CreateOrder", meanwhile.rate, "a second", samples, Target(at_least=50))
    for share in (0.5, 0.99):
        took = percentile(sorted(meanwhile.latencies), share) * _MS
        testbed.figure(f"meanwhile CreateOrder, p{share * 100:.0f}", took, "ms", samples)


def _restart_order(testbed: Testbed, settings: Mapping[str, str]) -> None:
    testbed.stop("order")
    testbed.start(settings, "order")


def _order_until(testbed: Testbed, over: Callable[[], bool]) -> Measured:
    """Go on ordering at an even pace until it is over, for a while in any case; what was measured in all."""
    users = testbed.new_users()
    together = Measured()
    while True:
        plan = testbed.paced(Kind.CREATE, testbed.skus, _MEANWHILE_RATE, _MEANWHILE_SLICE_S, users)
        together.add(testbed.load(plan), one_after_the_other=True)
        if over():
            return together


def _wait_until_closed(testbed: Testbed, users: range) -> None:
    """Wait until none of the users' orders waits for its payment, and each that owed its stock has given it back.

    It asks for little at a time, because what it asks of the services is taken from what is measured.
    """
    deadline = Deadline.after(_GIVE_UP_AFTER_S)
    while not _all_closed(testbed, users):
        _pause(deadline, "orders are still open")
    pending = [order.order_sn for user in users for order in orders_of(testbed.shop, user)]
    deadline = Deadline.after(_GIVE_UP_AFTER_S)
    while pending:
        asked = pending[:_ASKED_AT_ONCE]
        sales = sales_of(testbed.shop, asked)
        waiting = [sn for sn in asked if sn in sales and not sales[sn].HasField("return_time")]
        if len(waiting) < len(asked):
            deadline = Deadline.after(_GIVE_UP_AFTER_S)
        if waiting:
            _pause(deadline, "the stock of closed orders does not come back")
        pending = pending[_ASKED_AT_ONCE:] + waiting  # in turns: some other may have come back


def _pause(deadline: Deadline, why: str) -> None:
    if deadline.passed:
        raise RuntimeError(f"{why} after {_GIVE_UP_AFTER_S:.0f} s")
    time.sleep(_POLL_S)


def _all_closed(testbed: Testbed, users: range) -> bool:
    asked = (
        pb.ListOrdersRequest(user_id=user, state=state, page_size=1)
        for user in users
        for state in (pb.ORDER_STATE_UNPAID, pb.ORDER_STATE_CREATING)
    )
    return not any(testbed.shop.order.ListOrders(request, timeout=PATIENCE_S).orders for request in asked)


def _since(start: Timestamp, end: Timestamp) -> float:
    return (end.ToNanoseconds() - start.ToNanoseconds()) / 1e9


def _seconds(moment: Timestamp) -> float:
    return moment.ToNanoseconds() / 1e9
