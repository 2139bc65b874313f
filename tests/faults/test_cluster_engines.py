"""The whole cluster under load; one engine after the other is killed and comes back; no service is started again."""

import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import grpc
import pytest
import redis

from reback.order.v1 import order_pb2 as pb
from tests.support.clusters import BROKER, own_cluster
from tests.support.services import create_request
from tests.support.tables import unsettled
from tests.support.traffic import traffic
from tests.support.waiting import wait_until

AWAY_S: Final = 5.0
BACK_WITHIN_S: Final = 5.0
SETTLED_WITHIN_S: Final = 60.0
STOCK: Final = 1_000_000
SERVICES: Final = ("inventory-1", "inventory-2", "order-1", "order-2")
SETTINGS: Final = {
    "ORDER_CREATING_GRACE": "10",
    "ORDER_SWEEP_EVERY": "1",
    "ORDER_SWEEP_GRACE": "1",
    "ORDER_RETURN_AFTER": "1",
}

FAILS_CLEARLY: Final = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.ABORTED})
NOBODY_NOTICES: Final = frozenset[grpc.StatusCode]()
ENGINES: Final = {
    "redis": NOBODY_NOTICES,
    "consul": NOBODY_NOTICES,
    "mariadb": FAILS_CLEARLY,
    BROKER: FAILS_CLEARLY,
}
"""What callers may be told while it is away. ABORTED: the order failed for good, and its stock comes back."""


pytestmark = [pytest.mark.alone, pytest.mark.timeout(600)]


def test_each_engine_is_killed_under_load_and_calls_succeed_soon_after_its_return(
    tmp_path: Path,
) -> None:
    with own_cluster(tmp_path, SETTINGS) as (cluster, shop):
        user, sku = shop.new_user(), shop.new_sku(STOCK)
        before = [cluster.pid(name) for name in SERVICES]

        def create(request_id: str) -> Any:
            return shop.order.CreateOrder(create_request(user, {sku: 1}, request_id=request_id), timeout=10)

        with traffic(create) as flow:
            for engine, allowed in ENGINES.items():
                seen = len(flow.failures)
                cluster.kill(engine)
                is_away = time.monotonic() + AWAY_S
                wait_until(lambda: time.monotonic() > is_away, f"{engine} is away for a while")  # noqa: B023 - before the next
                cluster.start(engine)
                back = time.monotonic()
                settled = back + BACK_WITHIN_S
                wait_until(lambda: time.monotonic() > settled, "it had its time")  # noqa: B023
                flow.answered()
                failed = flow.failures[seen:]
                answer = Counter((failure.code.name, failure.reason) for failure in failed)
                assert {failure.code for failure in failed} <= allowed, f"without {engine}: {answer}"
                assert not flow.since(settled), f"{engine} was back for {BACK_WITHIN_S} s, and calls failed still"
            with redis.Redis.from_url(cluster.redis_url) as client:
                seen = len(flow.failures)
                for _ in range(5):
                    client.flushall()
                    flow.answered(10)
                assert flow.failures[seen:] == []

        assert [cluster.pid(name) for name in SERVICES] == before
        wait_until(lambda: not unsettled(shop.folder), "all orders at rest, no stock owed", SETTLED_WITHIN_S)
        live = {order.order_sn for order in shop.assert_books_balance().in_state(pb.ORDER_STATE_UNPAID)}
        assert {order.order_sn for order in flow.answers.values()} <= live
