"""The parts of the benchmark. Each loads the services, notes figures, and has the books checked."""

import statistics
import time
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

from reback.order.v1 import order_pb2 as pb
from scripts.bench.books import orders_of, sales_of
from scripts.bench.load import Kind, Measured, Plan
from scripts.bench.report import Figure, Target, percentile
from scripts.bench.site import HOT, Site
from scripts.shop import PATIENCE_S

_WARM_UP_S: Final = 1.0
_POLL_S: Final = 0.5
_ASKED_AT_ONCE: Final = 1000
_MS: Final = 1000.0
_CLOSED_WITHIN: Final = timedelta(minutes=5)  # after that the benchmark gives up

_LATENESS_PAY_WITHIN_S: Final = 5
_FEW: Final = 10
_LATENESS_RATE: Final = 50.0
_LATENESS_SECONDS: Final = 20.0

_MEANWHILE_RATE: Final = 55.0  # offered, a little more than must be reached
_MEANWHILE_SLICE_S: Final = 5.0


def stock(site: Site) -> None:
    """Sell a hot sku, and many others, and compare with an empty call through the same interceptors."""
    empty, hot, wide = "empty call", "Sell, one hot sku", f"Sell, {len(site.skus):,} skus"
    loads = {empty: (Kind.EMPTY, ()), hot: (Kind.SELL, (HOT,)), wide: (Kind.SELL, site.skus)}
    rates: dict[str, list[float]] = {name: [] for name in loads}
    latencies: dict[str, list[float]] = {name: [] for name in loads}
    for number in range(1, site.options.rounds + 1):
        for name, (kind, skus) in loads.items():
            measured = site.load(_full_speed(site, kind, site.options.callers, skus))
            rates[name].append(_rate(measured))
            latencies[name].extend(measured.latencies)
            site.say(f"  round {number}, {name}: {rates[name][-1]:,.0f} a second")
    for name in loads:
        site.add(Figure("stock", name, statistics.median(rates[name]), "a second", len(latencies[name])))
        _add_latencies(site, "stock", name, latencies[name])
    shares = [sold / answered for sold, answered in zip(rates[hot], rates[empty], strict=True)]
    site.add(Figure("stock", f"{hot} ÷ {empty}", statistics.median(shares), "", len(shares), Target(at_least=0.4)))


def create(site: Site) -> None:
    """Create orders as fast as the callers can."""
    measured = _create_at_full_speed(site)
    name = "CreateOrder"
    site.add(Figure("create", name, _rate(measured), "a second", len(measured.latencies), Target(at_least=250)))
    _add_latencies(site, "create", name, measured.latencies, Target(at_most=150))


def _create_at_full_speed(site: Site) -> Measured:
    measured = site.load(_full_speed(site, Kind.CREATE, site.options.create_callers, site.skus, site.new_users()))
    site.create_rate = _rate(measured)
    return measured


def lateness(site: Site) -> None:
    """Let orders go unpaid, a few at a time, and see how late each is closed and its stock is back."""
    site.restart_order({"ORDER_PAY_WITHIN": str(_LATENESS_PAY_WITHIN_S)})
    users = site.new_users(_FEW)
    site.load(_paced(site, users, _LATENESS_RATE, _LATENESS_SECONDS))
    _wait_until_closed(site, users)
    orders = [order for user in users for order in orders_of(site.shop, user)]
    sales = sales_of(site.shop, [order.order_sn for order in orders])
    closed = [_since(order.expire_time, order.close_time) * _MS for order in orders]
    back = [_since(order.expire_time, sales[order.order_sn].return_time) * _MS for order in orders]
    for name, late in (("order closed", sorted(closed)), ("its stock back", sorted(back))):
        site.add(Figure("lateness", f"{name}, earliest", late[0], "ms", len(late), Target(at_least=0)))
        site.add(Figure("lateness", f"{name}, p50", percentile(late, 0.5), "ms", len(late)))
        site.add(Figure("lateness", f"{name}, p99", percentile(late, 0.99), "ms", len(late), Target(at_most=1000)))


def due_at_once(site: Site) -> None:
    """Let very many orders come due while the order service is down; it starts again, and others go on ordering."""
    count = site.options.due_orders
    if not site.create_rate:
        _create_at_full_speed(site)
    pay_within = round(1.5 * count / site.create_rate) + 5  # none of them is due before the last is created
    site.restart_order({"ORDER_PAY_WITHIN": str(pay_within)})
    users = site.new_users(1)
    callers = site.options.create_callers
    site.say(f"  creating {count:,} orders")
    site.load(Plan(Kind.CREATE, site.skus, users, callers, site.options.connections, count=count))
    due = [_seconds(order.expire_time) for user in users for order in orders_of(site.shop, user)]
    if min(due) < time.time():
        raise RuntimeError("creating the orders took so long that some came due before they were all created")
    site.stop_order()
    site.say(f"  order_srv is stopped until all {len(due):,} are due, in {max(due) - time.time():.0f} s")
    time.sleep(max(0.0, max(due) - time.time()))
    site.start_order({"ORDER_PAY_WITHIN": "1800"})
    began = time.time()
    meanwhile = _order_until(site, lambda: _all_closed(site, users))
    _wait_until_closed(site, users)
    orders = [order for user in users for order in orders_of(site.shop, user)]
    sales = sales_of(site.shop, [order.order_sn for order in orders])
    closed = max(_seconds(order.close_time) for order in orders) - began
    back = max(_seconds(sale.return_time) for sale in sales.values()) - began
    site.add(Figure("due at once", "all orders closed after", closed, "s", len(orders), Target(at_most=60)))
    site.add(Figure("due at once", "all their stock back after", back, "s", len(sales)))
    name = "meanwhile CreateOrder"
    site.add(Figure("due at once", name, _rate(meanwhile), "a second", len(meanwhile.latencies), Target(at_least=50)))
    _add_latencies(site, "due at once", name, meanwhile.latencies)


def idle(site: Site) -> None:
    """Nobody calls: how much of a core the services take all the same."""
    before = site.processor_seconds()
    began = time.monotonic()
    time.sleep(site.options.seconds)
    took = time.monotonic() - began
    for name, seconds in site.processor_seconds().items():
        site.add(Figure("idle", f"{name}, share of a core", 100 * (seconds - before[name]) / took, "%", 1))


PARTS: Final[dict[str, Callable[[Site], None]]] = {
    "idle": idle,
    "stock": stock,
    "create": create,
    "lateness": lateness,
    "due": due_at_once,
}
"""Every part by name, in the order in which they run."""


def _full_speed(site: Site, kind: Kind, callers: int, skus: tuple[str, ...], users: range = range(1)) -> Plan:
    options = site.options
    return Plan(kind, skus, users, callers, options.connections, warm_up=_WARM_UP_S, seconds=options.seconds)


def _paced(site: Site, users: range, rate: float, seconds: float) -> Plan:
    options = site.options
    return Plan(Kind.CREATE, site.skus, users, options.create_callers, options.connections, rate=rate, seconds=seconds)


def _order_until(site: Site, over: Callable[[], bool]) -> Measured:
    """Go on ordering at an even pace until it is over; what was measured in all."""
    users = site.new_users()
    together = Measured()
    while not over():
        running = site.start_load(_paced(site, users, _MEANWHILE_RATE, _MEANWHILE_SLICE_S))
        while not running.ended() and not over():
            time.sleep(_POLL_S)
        together.add(running.result(), one_after_the_other=True)
    return together


def _wait_until_closed(site: Site, users: range) -> None:
    """Wait until none of the users' orders waits for its payment, and each that owed its stock has given it back.

    It asks for little at a time, because what it asks of the services is taken from what is measured.
    """
    deadline = time.monotonic() + _CLOSED_WITHIN.total_seconds()
    while not _all_closed(site, users):
        _pause(deadline)
    pending = [order.order_sn for user in users for order in orders_of(site.shop, user)]
    while pending:
        asked = pending[:_ASKED_AT_ONCE]
        sales = sales_of(site.shop, asked)
        waiting = [sn for sn in asked if sn in sales and not sales[sn].HasField("return_time")]
        if waiting:
            _pause(deadline)
        pending = waiting + pending[_ASKED_AT_ONCE:]


def _pause(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise RuntimeError(f"orders are still open {_CLOSED_WITHIN} after they were due")
    time.sleep(_POLL_S)


def _all_closed(site: Site, users: range) -> bool:
    asked = (
        pb.ListOrdersRequest(user_id=user, state=state, page_size=1)
        for user in users
        for state in (pb.ORDER_STATE_UNPAID, pb.ORDER_STATE_CREATING)
    )
    return not any(site.shop.order.ListOrders(request, timeout=PATIENCE_S).orders for request in asked)


def _add_latencies(site: Site, part: str, name: str, latencies: Iterable[float], target: Target | None = None) -> None:
    took = sorted(latencies)
    site.add(Figure(part, f"{name}, p50", percentile(took, 0.5) * _MS, "ms", len(took)))
    site.add(Figure(part, f"{name}, p99", percentile(took, 0.99) * _MS, "ms", len(took), target))


def _rate(measured: Measured) -> float:
    return len(measured.latencies) / measured.seconds


def _since(start: Timestamp, end: Timestamp) -> float:
    return (end.ToNanoseconds() - start.ToNanoseconds()) / 1e9


def _seconds(moment: Timestamp) -> float:
    return moment.ToNanoseconds() / 1e9
