"""What a round of the sweeper costs, by how many orders wait."""

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from order_srv.adapters.sweep_repository import SweepRepository
from reback.inventory.v1.inventory_pb2 import RebackRequest
from scripts.bench.harness.figures import Axis, Plot, Point, Series, Spread
from scripts.bench.harness.testbed import Testbed
from scripts.bench.parts.growth_testbed import Place
from scripts.lib.shop import CALL_TIMEOUT_S

_PAGE: Final = 200  # as the sweeper's
_PAGES: Final = 5
_QUIET_ROUNDS: Final = 20
_MS: Final = 1000.0
_OLDEST: Final = f"SELECT order_sn FROM orders WHERE state = 'UNPAID' ORDER BY order_sn LIMIT {_PAGE}"  # noqa: S608 our own
_MAKE_DUE: Final = "UPDATE orders SET expire_time = 1 WHERE order_sn = ?"


def time_sweeps(testbed: Testbed, places: Mapping[int, Place]) -> None:
    """Time rounds in which nothing is due, and pages of orders that are."""
    quiet: dict[int, Spread] = {}
    closing: dict[int, Spread] = {}
    for count, place in places.items():
        orders = SweepRepository(place.order)
        quiet[count] = Spread.of(_quiet_round(place, orders) for _ in range(_QUIET_ROUNDS))
        closing[count] = Spread.of(_page(place, orders) for _ in range(_PAGES))
        testbed.figure(f"sweep with nothing due, {count:,} orders waiting", quiet[count], "ms")
        testbed.figure(f"closing {_PAGE} that are due, {count:,} orders waiting", closing[count], "ms")
    series = [
        Series(name, tuple(Point.of(count, spread) for count, spread in found.items()))
        for name, found in (("nothing due", quiet), (f"{_PAGE} due", closing))
    ]
    axes = Axis("orders that wait", log=True), Axis("a sweep", "ms", log=True)
    testbed.plot(Plot("growth-sweep", "A sweep by how many orders wait", "lines", *axes, tuple(series)))


def _quiet_round(place: Place, orders: SweepRepository) -> float:
    now = place.order.time()
    began = time.perf_counter()
    orders.close_overdue(now - timedelta(minutes=1), now, _PAGE)
    orders.fail_abandoned(now - timedelta(minutes=1), now, _PAGE)
    orders.owed_returns(now, _PAGE)
    return (time.perf_counter() - began) * _MS


def _page(place: Place, orders: SweepRepository) -> float:
    """Let a page of orders be due, close it, and give its stock back as the sweeper would."""

    def make_due() -> None:
        due = place.order.execute(_OLDEST).fetchall()
        place.order.execute_many(_MAKE_DUE, due)

    place.order.write(make_due)
    now = place.order.time()
    began = time.perf_counter()
    closed = orders.close_overdue(now, now, _PAGE)
    took = time.perf_counter() - began
    for order_sn in closed:
        place.shop.inventory.Reback(RebackRequest(order_sn=order_sn, reason="bench"), timeout=CALL_TIMEOUT_S)
    orders.stock_returned(closed, now)
    return took * _MS
