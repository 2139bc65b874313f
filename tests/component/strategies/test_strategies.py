"""What each strategy keeps, and where it breaks."""

import threading
from collections.abc import Callable

import pytest

from common.errors import Aborted
from inventory_srv.domain.errors import NoStock, SkuNotFound
from scripts.bench.strategies.choice import CHOICES
from scripts.bench.strategies.no_lock import NoLock
from scripts.bench.strategies.thread_lock import ThreadLock
from scripts.bench.strategies.version import Version
from tests.component.strategies.tables import ON_REDIS, WITHOUT_REDIS, Tables, outcome, rush, together, void
from tests.support.waiting import TIMEOUT_S

HERE = [*WITHOUT_REDIS, *ON_REDIS]
KEEP_IN_ONE = [name for name in HERE if CHOICES[name].keeps[0]]
KEEP_IN_TWO = [name for name in HERE if CHOICES[name].keeps[1]]

REPLICAS = [(name, 1) for name in KEEP_IN_ONE] + [(name, 2) for name in KEEP_IN_TWO]


@pytest.mark.parametrize(("name", "replicas"), REPLICAS)
def test_a_correct_strategy_never_oversells(tables: Tables, name: str, replicas: int) -> None:
    tables.put(cup=20, tea=40)
    strategies = [tables.open(name) for _ in range(replicas)]
    orders = [{"cup": 1, "tea": 1} if number % 2 else {"tea": 1} for number in range(100)]

    seen = rush(strategies, orders, threads=10)
    for strategy in strategies:
        strategy.close()  # what is written later is written now

    sold = tables.sold()
    assert len(tables.orders()) == seen[None]
    assert (tables.available("cup"), tables.available("tea")) == (20 - sold.get("cup", 0), 40 - sold["tea"])
    assert min(tables.available("cup"), tables.available("tea")) >= 0
    if name != "version":  # who comes too late three times goes without, though there is some
        assert tables.available("tea") == 0
        assert set(seen) == {None, NoStock}


@pytest.mark.parametrize("name", HERE)
def test_an_order_that_is_short_of_one_sku_takes_nothing_of_the_others(tables: Tables, name: str) -> None:
    tables.put(cup=5, tea=1)
    strategy = tables.open(name)
    assert isinstance(outcome(strategy, "order", {"cup": 1, "tea": 2}), NoStock)
    assert isinstance(outcome(strategy, "other", {"cup": 1, "water": 1}), SkuNotFound)
    assert outcome(strategy, "last", {"cup": 5, "tea": 1}) is None
    strategy.close()
    assert tables.sold() == {"cup": 5, "tea": 1}
    assert (tables.available("cup"), tables.available("tea")) == (0, 0)


def both_have_read() -> Callable[[], None]:
    """A hook that lets two callers write only after both have read."""
    meeting = threading.Barrier(2)
    return lambda: void(meeting.wait(TIMEOUT_S))


def test_without_a_lock_two_callers_who_read_the_same_sell_the_last_unit_twice(tables: Tables) -> None:
    tables.put(cup=1)
    strategy = NoLock(tables.database, both_have_read())
    seen = together(lambda: outcome(strategy, "first", {"cup": 1}), lambda: outcome(strategy, "second", {"cup": 1}))
    assert seen == [None, None]
    assert tables.sold() == {"cup": 2}
    assert tables.available("cup") == 0


def test_a_thread_lock_in_each_of_two_processes_sells_the_last_unit_twice(tables: Tables) -> None:
    tables.put(cup=1)
    met = both_have_read()
    one, other = ThreadLock(tables.database, met), ThreadLock(tables.database, met)
    seen = together(lambda: outcome(one, "first", {"cup": 1}), lambda: outcome(other, "second", {"cup": 1}))
    assert seen == [None, None]
    assert tables.sold() == {"cup": 2}


def test_who_is_overtaken_once_by_version_tries_again(tables: Tables) -> None:
    tables.put(cup=2)
    overtaking = iter(["overtakes"])
    plain = Version(tables.database)

    def somebody_sells() -> None:
        for order_sn in overtaking:
            plain.sell(order_sn, {"cup": 1})

    assert outcome(Version(tables.database, somebody_sells), "order", {"cup": 1}) is None
    assert tables.orders() == {"overtakes", "order"}
    assert tables.available("cup") == 0


def test_who_is_overtaken_three_times_by_version_is_sent_away_though_there_is_stock(tables: Tables) -> None:
    tables.put(cup=100, tea=100)
    plain = Version(tables.database)
    overtaking = (f"overtakes-{number}" for number in range(100))
    strategy = Version(tables.database, lambda: plain.sell(next(overtaking), {"tea": 1}))
    assert isinstance(outcome(strategy, "order", {"cup": 1, "tea": 1}), Aborted)
    assert tables.orders() == {"overtakes-0", "overtakes-1", "overtakes-2"}
    assert tables.available("cup") == 100
