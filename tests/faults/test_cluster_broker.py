"""RocketMQ's broker and proxy are killed with half messages and timeouts waiting, and are back after ten seconds.

The sweeper is off: what is closed and given back here is so by messages alone.
"""

import shutil
import time
from pathlib import Path
from typing import Final

import grpc
import pytest

from common.clock import SystemClock
from common.messaging.drivers import open_broker
from common.messaging.port import Resolution
from common.rpc.errors import to_domain_error
from order_srv.domain.order_state import Cause
from reback.order.v1 import order_pb2 as pb
from scripts.cluster.cluster import Cluster
from scripts.cluster.topics import make_topics
from tests.support.clusters import BROKER, own_cluster
from tests.support.long_form import rounds
from tests.support.order_messages import reback_message
from tests.support.repeated_calls import until_done
from tests.support.services import Services
from tests.support.tables import let_orders_be_due, sale_states, states, unsettled
from tests.support.waiting import wait_until

ROUNDS: Final = rounds(short=1, long=20)
ORDERS: Final = 5  # of each kind, a round
STOCK: Final = 100_000

PAY_WITHIN_S: Final = 8.0  # so that orders are due while the broker is away
AWAY_S: Final = 10.0
SETTLED_WITHIN_S: Final = 15.0
LOST_AFTER_S: Final = 120.0  # what was not heard of by then is lost, not late
NEVER: Final = "86400"
SETTINGS: Final = {
    "ORDER_PAY_WITHIN": str(PAY_WITHIN_S),
    "ORDER_CREATING_GRACE": "20",
    "ORDER_SWEEP_EVERY": NEVER,
    "ORDER_RETURN_AFTER": NEVER,
}

SWEEPER_ON: Final = {"ORDER_SWEEP_EVERY": "1", "ORDER_SWEEP_GRACE": "1", "ORDER_RETURN_AFTER": "1"}

pytestmark = pytest.mark.timeout(300 + 120 * ROUNDS)


@pytest.mark.alone
def test_check_backs_come_and_timeouts_are_handled_soon_after_the_broker_is_back(
    tmp_path: Path,
) -> None:
    with own_cluster(tmp_path, SETTINGS) as (cluster, shop):
        user, sku = shop.new_user(), shop.new_sku(STOCK)
        took: list[float] = []
        for _ in range(ROUNDS):
            paid = [shop.pay(shop.create(user, {sku: 1})).order for _ in range(ORDERS)]
            due = [shop.create(user, {sku: 1}) for _ in range(ORDERS)]
            leave_refunds_half_done(cluster, paid)
            cluster.kill(BROKER)
            assert {shop.get(order).state for order in paid} == {pb.ORDER_STATE_PAID}
            away = time.monotonic() + AWAY_S
            refused = failure_of(shop, user, sku)
            assert refused == (grpc.StatusCode.UNAVAILABLE, "BROKER_UNAVAILABLE")
            wait_until(lambda: time.monotonic() > away, "it is away for a while")  # noqa: B023 - before the next
            assert {shop.get(order).state for order in due} == {pb.ORDER_STATE_UNPAID}
            cluster.start(BROKER)

            back = time.monotonic()
            for order in (*paid, *due):
                wait_until(
                    lambda: shop.get(order).state == pb.ORDER_STATE_CLOSED,  # noqa: B023 - before the next
                    f"{order.order_sn} is closed, {took=}",
                    LOST_AFTER_S,
                )
            took.append(round(time.monotonic() - back, 1))
            print(f"closed after {took[-1]} s")  # noqa: T201 - `pytest -rP` shows what was measured
            assert {shop.get(order).close_cause for order in paid} == {pb.CLOSE_CAUSE_REFUND}
            assert {shop.get(order).close_cause for order in due} == {pb.CLOSE_CAUSE_TIMEOUT}
            assert all("ASKED_BY_BROKER" in shop.steps(order.order_sn) for order in paid)

        wait_until(lambda: set(sale_states(shop.folder).values()) == {"RETURNED"}, "all stock is back")
        assert shop.available(sku) == STOCK
        assert states(shop.folder).count("CLOSED") == 2 * ORDERS * ROUNDS
        assert max(took) <= SETTLED_WITHIN_S, took


def test_sweeper_settles_every_order_when_the_brokers_disk_is_lost(tmp_path: Path) -> None:
    with own_cluster(tmp_path, {**SETTINGS, "ORDER_PAY_WITHIN": "600", **SWEEPER_ON}) as (cluster, shop):
        user, sku = shop.new_user(), shop.new_sku(STOCK)
        paid = [shop.pay(shop.create(user, {sku: 1})).order for _ in range(ORDERS)]
        refunded = [shop.pay(shop.create(user, {sku: 1})).order for _ in range(ORDERS)]
        due = [shop.create(user, {sku: 1}) for _ in range(ORDERS)]
        leave_refunds_half_done(cluster, refunded)
        cluster.kill(BROKER)
        shutil.rmtree(cluster.folder / BROKER / "store")
        cluster.start(BROKER)
        make_topics(cluster.ports)
        let_orders_be_due(tmp_path)  # whose timeouts are lost

        wait_until(lambda: all(shop.get(order).state == pb.ORDER_STATE_CLOSED for order in due), "the due are closed")
        wait_until(lambda: not unsettled(tmp_path), "no stock is owed")
        assert {shop.get(order).state for order in (*paid, *refunded)} == {pb.ORDER_STATE_PAID}
        assert shop.available(sku) == STOCK - 2 * ORDERS
        request = pb.RefundOrderRequest(order_sn=refunded[0].order_sn, reason="again, its message is lost")
        assert until_done(lambda: shop.order.RefundOrder(request)).state == pb.ORDER_STATE_CLOSED
        shop.wait_for_available(sku, STOCK - 2 * ORDERS + 1)
        shop.assert_books_balance()


def leave_refunds_half_done(cluster: Cluster, orders: list[pb.Order]) -> None:
    """Send the half messages of refunds, as a replica does that dies right after it."""
    url = f"{cluster.rocketmq_url}?nameserver={cluster.nameserver}"
    broker = open_broker(url, topic_prefix="", clock=SystemClock())
    for order in orders:
        half = reback_message(Cause.REFUND, SystemClock().now(), order.order_sn, reason="broken")
        broker.in_transaction(half, lambda: Resolution.UNKNOWN)
    broker.close()


def failure_of(shop: Services, user: int, sku: str) -> tuple[grpc.StatusCode, str]:
    """How creating an order fails."""
    with pytest.raises(grpc.RpcError) as failure:
        shop.create(user, {sku: 1})
    return failure.value.code(), to_domain_error(failure.value).reason
