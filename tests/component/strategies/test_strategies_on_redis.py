"""The two strategies that use a Redis."""

import threading
import time

from scripts.bench.strategies.redis_lock import RedisLock
from scripts.bench.strategies.redis_stock import RedisStock
from tests.component.strategies.tables import Tables, outcome, void
from tests.support.waiting import TIMEOUT_S


def test_a_redis_lock_is_renewed_while_its_holder_works(tables: Tables) -> None:
    tables.put(cup=1)
    left: list[int] = []

    def work_until_it_is_renewed() -> None:
        give_up = time.monotonic() + TIMEOUT_S
        while len(left) < 2 or left[-1] <= left[-2]:  # milliseconds to its end, which only a renewal makes more
            assert time.monotonic() < give_up
            left.append(tables.redis.pttl(f"{tables.prefix}lock:cup"))

    strategy = tables.keep(
        RedisLock(tables.database, tables.redis, tables.prefix, work_until_it_is_renewed, expiry=1.0)
    )
    assert outcome(strategy, "order", {"cup": 1}) is None
    assert min(left) > 0
    assert not tables.redis.exists(f"{tables.prefix}lock:cup")


def test_what_redis_sold_is_not_in_the_database_until_it_is_written_later(tables: Tables) -> None:
    tables.put(cup=5)
    may_write = threading.Event()
    held = RedisStock(tables.database, tables.redis, tables.prefix, lambda: void(may_write.wait(TIMEOUT_S)))
    try:
        assert outcome(held, "told that it has one", {"cup": 1}) is None
        # Were the process killed here, this is what would be left of the sale:
        assert (tables.sold(), tables.available("cup")) == ({}, 5)
        assert tables.redis.get(f"{tables.prefix}cup") == b"4"
    finally:
        may_write.set()
        held.close()
    assert (tables.sold(), tables.available("cup")) == ({"cup": 1}, 4)


def test_an_order_that_takes_stock_twice_is_written_once_and_keeps_no_other_from_being_written(tables: Tables) -> None:
    tables.put(cup=5)
    may_write = threading.Event()
    strategy = RedisStock(tables.database, tables.redis, tables.prefix, lambda: void(may_write.wait(TIMEOUT_S)))
    try:
        assert [outcome(strategy, order_sn, {"cup": 1}) for order_sn in ("first", "again", "again", "last")] == [
            None
        ] * 4
    finally:
        may_write.set()
        strategy.close()
    assert tables.orders() == {"first", "again", "last"}
    assert (tables.redis.get(f"{tables.prefix}cup"), tables.available("cup")) == (b"1", 2)  # a unit that nobody has
