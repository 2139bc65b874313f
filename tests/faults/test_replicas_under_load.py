"""One of two replicas is killed, or told to stop, while callers are at work: the other serves."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import grpc
import pytest

from common.discovery.drivers import open_discovery
from common.rpc.channel import open_channel
from reback.inventory.v1 import inventory_pb2 as stock_pb
from reback.inventory.v1.inventory_pb2_grpc import InventoryServiceStub
from reback.order.v1 import order_pb2 as pb
from reback.order.v1.order_pb2_grpc import OrderServiceStub
from tests.support.replicas import Site, replicas
from tests.support.services import create_request
from tests.support.tables import rows, sale_states, unsettled
from tests.support.traffic import Traffic, traffic
from tests.support.waiting import TIMEOUT_S, wait_until
from tests.support.worlds import World

STOCK: Final = 1_000_000
LEFT_WITHIN_S: Final = 2.0
"""The interval of the registry's checks: after it nobody calls a dead replica."""

INVENTORIES: Final = "inventory-srv"
ORDERS: Final = "order-srv"
UNAVAILABLE: Final = grpc.StatusCode.UNAVAILABLE

pytestmark = [pytest.mark.alone, pytest.mark.timeout(300)]  # four processes are started, on a machine that may be busy


@pytest.fixture
def site(world: World) -> Iterator[Site]:
    with replicas(world.folder, order={"creating_grace": 10}) as both:
        yield both


@pytest.fixture
def sku(site: Site) -> str:
    return site.shop.new_sku(STOCK)


def creating(site: Site, sku: str, orders: OrderServiceStub | None = None) -> Callable[[str], pb.Order]:
    stub, user = orders or site.shop.order, site.shop.new_user()

    def create(request_id: str) -> Any:
        return stub.CreateOrder(create_request(user, {sku: 1}, request_id=request_id), timeout=TIMEOUT_S)

    return create


def selling(stub: InventoryServiceStub, sku: str) -> Callable[[str], stock_pb.Sale]:
    def sell(order_sn: str) -> Any:
        request = stock_pb.SellRequest(order_sn=order_sn, lines=[stock_pb.SaleLine(sku=sku, quantity=1)])
        return stub.Sell(request, timeout=TIMEOUT_S)

    return sell


@contextmanager
def gateway(site: Site, service: str) -> Iterator[grpc.Channel]:
    """A channel as the services themselves have them: it watches the health of each replica."""
    replicas = site.orders if service == ORDERS else site.inventories
    discovery = open_discovery(f"static://?{service}={','.join(each.address for each in replicas)}")
    with open_channel(discovery, service, never_repeated=[]) as channel:
        yield channel


def passes(moment: float) -> None:
    """Let real time pass under load, until a moment of the monotonic clock."""
    wait_until(lambda: time.monotonic() >= moment, "time passes")


def assert_each_order_once(site: Site, flow: Traffic) -> None:
    """At rest there is one live order for each answer, and no other."""
    wait_until(lambda: not unsettled(site.folder), "all orders at rest, no stock owed", 2 * TIMEOUT_S)
    books = site.shop.assert_books_balance()
    live = sorted(order.order_sn for order in books.in_state(pb.ORDER_STATE_UNPAID))
    unanswered = {failure.key for failure in flow.failures}
    known = {order.order_sn for order in flow.answers.values()}
    assert known <= set(live)
    extra = set(live) - known
    made = rows(site.folder, "order", "SELECT order_sn, request_id FROM orders")
    assert {request_id for order_sn, request_id in made if order_sn in extra} <= unanswered


@pytest.mark.parametrize("service", [INVENTORIES, ORDERS])
def test_of_two_replicas_one_is_killed_and_the_other_serves(site: Site, sku: str, service: str) -> None:
    victim = (site.orders if service == ORDERS else site.inventories)[0]
    with traffic(creating(site, sku)) as flow:
        victim.kill()
        killed = time.monotonic()
        passes(killed + LEFT_WITHIN_S)
        flow.answered()
        assert not flow.since(killed + LEFT_WITHIN_S), "traffic has left the dead one"
        site.restart(victim)
        flow.answered()
    # An order whose Sell got no answer is failed, and its caller told so: a repeat is a new order.
    allowed = {(UNAVAILABLE, failure.reason) for failure in flow.failures}
    if service == INVENTORIES:
        allowed.add((grpc.StatusCode.ABORTED, "ORDER_FAILED"))
    assert {(failure.code, failure.reason) for failure in flow.failures} <= allowed
    assert_each_order_once(site, flow)


def test_callers_of_a_killed_inventory_see_at_most_unavailable_and_no_sale_is_lost(site: Site, sku: str) -> None:
    with traffic(selling(site.shop.inventory, sku)) as flow:
        site.inventories[0].kill()
        killed = time.monotonic()
        passes(killed + LEFT_WITHIN_S)
        flow.answered()
        assert not flow.since(killed + LEFT_WITHIN_S), "traffic has left the dead one"
    assert flow.codes <= {UNAVAILABLE}
    sold = set(sale_states(site.folder))
    assert set(flow.answers) <= sold <= set(flow.answers) | {failure.key for failure in flow.failures}


@pytest.mark.parametrize("service", [INVENTORIES, ORDERS])
def test_pitfall_17_of_two_replicas_one_is_told_to_stop_and_no_call_is_lost(site: Site, sku: str, service: str) -> None:
    victim = (site.orders if service == ORDERS else site.inventories)[0]
    with gateway(site, ORDERS) as channel, traffic(creating(site, sku, OrderServiceStub(channel))) as flow:
        victim.stop()  # and its exit code is 0
        flow.answered()
        site.restart(victim)
        flow.answered()
    assert flow.failures == []
    assert_each_order_once(site, flow)
