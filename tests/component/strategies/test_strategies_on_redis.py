"""The two ways that stand on a Redis."""

import threading
import time

from scripts.bench.strategies.redis_lock import RedisLock
from scripts.bench.strategies.redis_stock import RedisStock
from tests.component.strategies.tables import PATIENCE, Shelf, outcome, void


def test_a_redis_lock_is_renewed_while_its_holder_works(shelf: Shelf) -> None:
    shelf.put(cup=1)
    left: list[int] = []

    def work_until_it_is_renewed() -> None:
        give_up = time.monotonic() + PATIENCE
        while len(left) < 2 or left[-1] <= left[-2]:  # milliseconds to its end, which only a renewal makes more
            assert time.monotonic() < give_up
            left.append(shelf.redis.pttl(f"{shelf.prefix}lock:cup"))

    way = shelf.keep(RedisLock(shelf.database, shelf.redis, shelf.prefix, work_until_it_is_renewed, expiry=1.0))
    assert outcome(way, "order", {"cup": 1}) is None
    assert min(left) > 0
    assert not shelf.redis.exists(f"{shelf.prefix}lock:cup")


def test_what_redis_sold_is_not_in_the_database_until_it_is_written_later(shelf: Shelf) -> None:
    shelf.put(cup=5)
    may_write = threading.Event()
    held = RedisStock(shelf.database, shelf.redis, shelf.prefix, lambda: void(may_write.wait(PATIENCE)))
    try:
        assert outcome(held, "told that it has one", {"cup": 1}) is None
        # Were the process killed here, this is what would be left of the sale:
        assert (shelf.sold(), shelf.available("cup")) == ({}, 5)
        assert shelf.redis.get(f"{shelf.prefix}cup") == b"4"
    finally:
        may_write.set()
        held.close()
    assert (shelf.sold(), shelf.available("cup")) == ({"cup": 1}, 4)


def test_an_order_that_takes_stock_twice_is_written_once_and_keeps_no_other_from_being_written(shelf: Shelf) -> None:
    shelf.put(cup=5)
    may_write = threading.Event()
    way = RedisStock(shelf.database, shelf.redis, shelf.prefix, lambda: void(may_write.wait(PATIENCE)))
    try:
        assert [outcome(way, order_sn, {"cup": 1}) for order_sn in ("first", "again", "again", "last")] == [None] * 4
    finally:
        may_write.set()
        way.close()
    assert shelf.orders() == {"first", "again", "last"}
    assert (shelf.redis.get(f"{shelf.prefix}cup"), shelf.available("cup")) == (b"1", 2)  # a unit that nobody has
