"""What the benchmark compares CreateOrder with is an order's messages, all three of them."""

import sqlite3
from contextlib import closing
from pathlib import Path

from order_srv.domain.messages import ORDER_TIMEOUT
from scripts.bench.parts.messages import send_bare


def waiting(file: Path) -> dict[tuple[str, str], int]:
    """How many messages wait in the broker's file, by topic and consumers."""
    query = "SELECT topic, consumers, count(*) FROM entries JOIN queues ON queues.id = queue GROUP BY 1, 2"
    with closing(sqlite3.connect(file)) as broker:
        return {(topic, consumers): count for topic, consumers, count in broker.execute(query)}


def test_bare_messages_are_half_messages_that_are_rolled_back_and_delayed_ones_that_wait(tmp_path: Path) -> None:
    sent = send_bare(f"embedded:///{tmp_path}/broker.db", "bare-", seconds=0.2, threads=2)

    assert sent.rate > 0
    assert 0 < sent.processor_time * sent.orders < 10
    left = waiting(tmp_path / "broker.db")
    assert set(left) == {(f"bare-{ORDER_TIMEOUT}", "")}, "no half message waits for its end"
    assert left[f"bare-{ORDER_TIMEOUT}", ""] == sent.orders
