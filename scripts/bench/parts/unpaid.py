"""Orders that nobody pays: how late each is closed, and very many that are due at once."""

import time
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from common.deadline import Deadline
from reback.order.v1 import order_pb2 as pb
from scripts.bench.harness.books import orders_of, sales_of
from scripts.bench.harness.figures import Target, percentile
from scripts.bench.harness.load import Kind, Measured
from scripts.bench.harness.replicas import ORDER
from scripts.bench.harness.rounds import Rounds
from scripts.bench.harness.testbed import Testbed
from scripts.bench.harness.worlds import CLUSTER, EMBEDDED, NATIVE, Servers
from scripts.bench.parts.create import CREATE
from scripts.lib.shop import CALL_TIMEOUT_S

_POLL_S: Final = 0.5
_ASKED_AT_ONCE: Final = 1000
_MS: Final = 1000.0
_GIVE_UP_AFTER_S: Final = 300.0  # of waiting for all to be closed, or without any stock coming back
_SLOWEST: Final = 50.0  # orders that have to be closed a second

_SHARES: Final = (0.5, 0.99)
_MICROSECONDS: Final = 1e6
_CLOSED: Final = "order closed"
_BACK: Final = "its stock back"
_INSTANT_S: Final = 0.001  # a few orders are closed in one transaction, at one time
_EARLY_S: Final = 25.0  # less than the sweeper's grace: orders that came due only now are left to their messages
_EARLY: Final = f"orders closed in the first {_EARLY_S:.0f} s"
_RATIO_OF_TIMES: Final = "all their stock back ÷ all orders closed, time"

_LATENESS_PAY_WITHIN_S: Final = 5
_FEW: Final = 10
_LATENESS_RATE: Final = 50.0
_LATENESS_SECONDS: Final = 20.0
_LATEST_MS: Final = {EMBEDDED: 1000, CLUSTER: 2000}  # RocketMQ's client knows whole seconds

_TRIED_S: Final = 10.0  # at most; a second for each of …
_TRIED_ORDERS: Final = 1000.0  # … so many orders that are to come due
_SLOWER: Final = 1.25  # than when it was tried: for so much longer the orders wait for their payment
_MEANWHILE_RATE: Final = 55.0  # offered, a little more than must be reached
_MEANWHILE_SLICE_S: Final = 5.0
_SHORTEST_SLICE_S: Final = 1.0
_IN_A_MINUTE: Final = 10_000
_CLOSES: Final = {EMBEDDED: Target(at_least=150, aim=300), CLUSTER: Target(at_least=700, aim=1500)}
_NATIVE_CLOSES: Final = Target(at_least=1200, aim=2500)
_BACK_IN_TIME: Final = Target(at_most=1.2)


def lateness(testbed: Testbed) -> Iterator[None]:
    """Let orders go unpaid, a few at a time, and see how late each is closed and its stock is back."""
    _restart_order(testbed, {"ORDER_PAY_WITHIN": str(_LATENESS_PAY_WITHIN_S)})
    rounds = Rounds(testbed, testbed.options.slow_rounds)
    for _ in rounds:
        yield
        users = testbed.new_users(_FEW)
        rounds.load(CREATE, testbed.paced(Kind.CREATE, testbed.skus, _LATENESS_RATE, _LATENESS_SECONDS, users))
        _wait_until_closed(testbed, users)
        orders = [order for user in users for order in orders_of(testbed.shop, user)]
        sales = sales_of(testbed.shop, [order.order_sn for order in orders])
        closed = [_since(order.expire_time, order.close_time) * _MS for order in orders]
        back = [_since(order.expire_time, sales[order.order_sn].return_time) * _MS for order in orders]
        for name, late in ((_CLOSED, sorted(closed)), (_BACK, sorted(back))):
            rounds.note(f"{name}, earliest", late[0], len(late))
            rounds.note(f"{name}, p50", percentile(late, 0.5), len(late))
            rounds.note(f"{name}, p99", percentile(late, 0.99), len(late))
    rounds.report()
    for name in (_CLOSED, _BACK):
        rounds.value(f"{name}, earliest", "ms", Target(at_least=0))
        rounds.value(f"{name}, p50", "ms")
        rounds.value(f"{name}, p99", "ms", Target(at_most=_LATEST_MS[testbed.world.name]))


def due_at_once(testbed: Testbed) -> Iterator[None]:
    """Let very many orders come due while the order service is down; it starts again, and others go on ordering."""
    rounds = Rounds(testbed, testbed.options.slow_rounds)
    for number in rounds:
        yield
        if number > 1:  # the orders of the last round that still wait for their payment would come due in this one
            testbed.restart(fresh=True)
        close_at_once(testbed, rounds, _create_due(testbed))
    report_closes(testbed, rounds)


def report_closes(testbed: Testbed, rounds: Rounds) -> None:
    """Put what `close_at_once` noted among the figures."""
    orders = testbed.options.due_orders
    rounds.value("all orders closed after", "s", Target(at_most=60) if orders <= _IN_A_MINUTE else None)
    rounds.value("all their stock back after", "s")
    native = isinstance(testbed.world, Servers) and testbed.world.client == NATIVE
    rounds.value("orders closed", "a second", _NATIVE_CLOSES if native else _CLOSES[testbed.world.name])
    rounds.value(_EARLY, "a second")
    rounds.value("their stock back", "a second")
    rounds.value(_RATIO_OF_TIMES, "", _BACK_IN_TIME)
    rounds.value("meanwhile CreateOrder", "a second", Target(at_least=50))
    for share in _SHARES:
        rounds.value(f"meanwhile CreateOrder, p{share * 100:.0f}", "ms")
    for who in ("service", "engines"):
        rounds.value(f"processor time an order closed or created: {who}", "µs")


def close_at_once(testbed: Testbed, rounds: Rounds, users: range) -> None:
    """Start the order service, which closes all orders of these users while others order, and note how long it took."""
    testbed.start({}, ORDER)
    began, taken = time.time(), testbed.processor_seconds()
    meanwhile = _order_until(testbed, lambda: _all_closed(testbed, users))
    _wait_until_closed(testbed, users)
    took = {who: seconds - taken[who] for who, seconds in testbed.processor_seconds().items()}
    orders = [order for user in users for order in orders_of(testbed.shop, user)]
    sales = sales_of(testbed.shop, [order.order_sn for order in orders])
    closes = sorted(_seconds(order.close_time) for order in orders)
    began = min(began, closes[0])  # it closes before it says that it is ready
    closed = max(closes[-1] - began, _INSTANT_S)
    early = bisect_right(closes, began + _EARLY_S)
    back = max(*(_seconds(sale.return_time) - began for sale in sales.values()), _INSTANT_S)
    rounds.note("all orders closed after", closed, len(orders))
    rounds.note("all their stock back after", back, len(sales))
    rounds.note("orders closed", len(orders) / closed, len(orders))
    rounds.note(_EARLY, early / min(closed, _EARLY_S), early)
    rounds.note("their stock back", len(sales) / back, len(sales))
    rounds.note(_RATIO_OF_TIMES, back / closed, len(sales))
    samples = len(meanwhile.latencies)
    rounds.note("meanwhile CreateOrder", meanwhile.rate, samples)
    for share in _SHARES:
        late = percentile(sorted(meanwhile.latencies), share) * _MS
        rounds.note(f"meanwhile CreateOrder, p{share * 100:.0f}", late, samples)
    for who in ("service", "engines"):
        each = took[who] / (len(orders) + meanwhile.calls) * _MICROSECONDS
        rounds.note(f"processor time an order closed or created: {who}", each, len(orders) + meanwhile.calls)


def _tried(count: int) -> float:
    """Seconds in which to see how fast orders can be created, before `count` of them are."""
    return min(_TRIED_S, max(1.0, count / _TRIED_ORDERS))


def _create_due(testbed: Testbed) -> range:
    """Create orders, stop the order service, and wait until all of them are due; whose they are."""
    count = testbed.options.due_orders
    tried = testbed.load(replace(testbed.full_speed(Kind.CREATE, testbed.skus), seconds=_tried(count)))
    pay_within = round(_SLOWER * count / tried.rate) + 5  # none of them is due before the last is created
    _restart_order(testbed, {"ORDER_PAY_WITHIN": str(pay_within)})
    users = testbed.new_users(1)
    testbed.say(f"  creating {count:,} orders")
    testbed.load(replace(testbed.full_speed(Kind.CREATE, testbed.skus, users=users), count=count))
    due = [_seconds(order.expire_time) for user in users for order in orders_of(testbed.shop, user)]
    if min(due) < time.time():
        raise RuntimeError("creating the orders took so long that some came due before they were all created")
    testbed.stop(ORDER)
    testbed.say(f"  order_srv is stopped until all {len(due):,} are due, in {max(due) - time.time():.0f} s")
    time.sleep(max(0.0, max(due) - time.time()))
    return users


def _restart_order(testbed: Testbed, settings: Mapping[str, str]) -> None:
    testbed.stop(ORDER)
    testbed.start(settings, ORDER)


def _order_until(testbed: Testbed, over: Callable[[], bool]) -> Measured:
    """Go on ordering at an even pace until it is over, for a while in any case; what was measured in all."""
    users = testbed.new_users()
    together = Measured()
    orders = testbed.options.due_orders
    deadline = Deadline.after(_GIVE_UP_AFTER_S + orders / _SLOWEST)
    seconds = min(_MEANWHILE_SLICE_S, max(_SHORTEST_SLICE_S, orders / _TRIED_ORDERS))
    while True:
        plan = testbed.paced(Kind.CREATE, testbed.skus, _MEANWHILE_RATE, seconds, users)
        together.add(testbed.load(plan), one_after_the_other=True)
        if over():
            return together
        if deadline.passed:
            raise RuntimeError(f"of {orders:,} orders that were due some are still open")


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
    return not any(testbed.shop.order.ListOrders(request, timeout=CALL_TIMEOUT_S).orders for request in asked)


def _since(start: Timestamp, end: Timestamp) -> float:
    return (end.ToNanoseconds() - start.ToNanoseconds()) / 1e9


def _seconds(moment: Timestamp) -> float:
    return moment.ToNanoseconds() / 1e9
