"""The timeout messages that the benchmark sends by itself: each names as many orders as it is told, none twice."""

import json
import threading
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from common.clock import SystemClock
from common.messaging.drivers import open_broker
from common.messaging.port import Delivery
from order_srv.domain.messages import ORDER_TIMEOUT
from scripts.bench.harness.prefill import order_sns
from scripts.bench.parts.due_messages import TOGETHER, send_timeouts, timeout_messages

EXPIRED = datetime(2030, 1, 2, 3, 4, 5, 678, tzinfo=UTC)


@pytest.mark.parametrize(("each", "sizes"), [(1, [1] * 130), (TOGETHER, [64, 64, 2])])
def test_a_message_names_as_many_orders_as_it_is_told(each: int, sizes: list[int]) -> None:
    bodies = [json.loads(message.body) for message in timeout_messages(order_sns(130), each, EXPIRED)]
    assert [len(body["orders"]) for body in bodies] == sizes
    assert [order["order_sn"] for body in bodies for order in body["orders"]] == list(order_sns(130))
    assert {datetime.fromisoformat(body["expire_time"]) for body in bodies} == {EXPIRED}


@pytest.mark.timeout(60)
def test_what_is_sent_arrives_at_once(tmp_path: Path) -> None:
    url = f"embedded:///{tmp_path}/broker.db"
    sizes: list[int] = []
    all_here = threading.Event()

    def take(delivery: Delivery) -> None:
        sizes.append(len(json.loads(delivery.message.body)["orders"]))
        if len(sizes) == 3:
            all_here.set()

    with closing(open_broker(url, topic_prefix="", clock=SystemClock())) as broker:
        broker.subscribe(ORDER_TIMEOUT, "order", take)
        broker.start()
        send_timeouts(url, "", 5, 2, EXPIRED)
        assert all_here.wait(30)
    assert sorted(sizes) == [1, 2, 2]
