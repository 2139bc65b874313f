"""Stock that is read out of the cache: never older than what was answered, and when it may be older, for how long."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event
from typing import Any
from uuid import uuid4

import pytest

from common.cache.port import Cache
from common.clock import SystemClock
from common.database import Database, DatabaseUnavailable
from common.lock.local import LocalLock
from common.lock.port import Lock
from inventory_srv.adapters.stock_cache import StockCache
from inventory_srv.adapters.stock_repository import Repository
from inventory_srv.bootstrap import MIGRATIONS
from inventory_srv.crash_points import CrashPoint
from inventory_srv.domain.changes import AdjustStock
from inventory_srv.domain.errors import NoStock, SkuNotFound
from inventory_srv.domain.records import Sale
from inventory_srv.use_cases.queries import Queries
from inventory_srv.use_cases.stock_writer import StockWriter
from reback.inventory.v1 import inventory_pb2 as pb
from tests.component.inventory.in_process import RunningService, running_service
from tests.component.inventory.shop import Hold, Shop, soon
from tests.support.caches import DRIVERS, Caches, own_caches
from tests.support.databases import url_of
from tests.support.engines import REDIS_URL
from tests.support.stock_changes import reback, sell
from tests.support.waiting import TIMEOUT_S

HERE = "?expiry=1000"  # what is kept is not gone before the test is over


@pytest.fixture(params=DRIVERS)
def caches(request: pytest.FixtureRequest) -> Iterator[Caches]:
    """What replicas share; those of one process the same cache."""
    with own_caches(request.param) as made:
        yield made


@contextmanager
def replica(folder: Path, cache: Cache, lock: Lock | None = None, **settings: Any) -> Iterator[Shop]:
    """A shop whose reads go through a cache that its writer tells."""
    database = Database(url_of(folder, "inventory"))
    database.migrate(MIGRATIONS)
    stocks = StockCache(cache, "inventory")
    shop = Shop(database, StockWriter(database, lock or LocalLock(), SystemClock(), cache=stocks, **settings))
    shop.queries = Queries(database, stocks)
    shop.writer.start()
    try:
        yield shop
    finally:
        shop.writer.close()
        database.close()


@pytest.fixture
def replicas(engine: str, tmp_path: Path, caches: Caches, hold: Hold) -> Iterator[list[Shop]]:
    """The first can be held."""
    with (
        replica(tmp_path, caches.replicas[0], crash_hook=hold.crash_hook) as one,
        replica(tmp_path, caches.replicas[-1]) as other,
    ):
        yield [one, other]
        hold.let_go()


def change_by_hand(shop: Shop, statement: str) -> None:
    with shop.database.reading():
        shop.database.engine.execute_sql(statement)


def test_a_stock_that_was_read_is_not_read_from_the_database_again(
    replicas: list[Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = replicas
    one.stock_up(tea=5, mug=3)
    assert one.units("tea") == (5, 0)

    def down(*_: object) -> None:
        raise DatabaseUnavailable("the database can't be used")

    monkeypatch.setattr("common.database.Database.reading", down)
    assert other.units("tea") == (5, 0)
    assert [stock.sku for stock in other.queries.batch_get_stocks(["mug", "tea", "mug"])] == ["mug", "tea", "mug"]


def test_a_stock_is_the_same_from_the_cache_as_from_the_database(replicas: list[Shop]) -> None:
    one, other = replicas
    one.stock_up(tea=5)
    one.carry_out(sell("o1", ("tea", 2)))
    assert other.queries.get_stock("tea", soon()) == Queries(one.database).get_stock("tea", soon())
    assert other.queries.get_stock("tea", soon()).version == 2


def test_every_answered_change_is_seen_at_every_replica(replicas: list[Shop]) -> None:
    one, other = replicas
    one.stock_up(tea=100)
    for number in range(50):
        one.carry_out(sell(f"o{number}", ("tea", 1)))
        assert other.units("tea") == one.units("tea") == (99 - number, number + 1)
    for number in range(50):
        other.carry_out(reback(f"o{number}"))
        assert one.units("tea") == other.units("tea") == (51 + number, 49 - number)


def test_that_a_sku_does_not_exist_is_forgotten_at_once(replicas: list[Shop]) -> None:
    one, other = replicas
    with pytest.raises(SkuNotFound):
        other.units("tea")
    one.stock_up(tea=5)
    assert other.units("tea") == (5, 0)


def test_what_a_killed_replica_did_not_tell_is_seen_when_the_entry_expires(
    caches: Caches, replicas: list[Shop], hold: Hold
) -> None:
    """Between COMMIT and the cache; nobody was answered."""
    killed, other = replicas
    killed.stock_up(tea=5)
    assert other.units("tea") == (5, 0)
    hold.arm(CrashPoint.BATCH_COMMITTED)
    killed.put([sell("o1", ("tea", 2))])
    hold.wait()

    assert other.units("tea") == (5, 0)
    caches.move_on(caches.expiry)
    assert other.units("tea") == (3, 2)


def test_a_repeat_at_another_replica_mends_what_a_killed_one_did_not_tell(replicas: list[Shop], hold: Hold) -> None:
    """It changes nothing, but whoever repeats the call is answered, and what was answered is seen."""
    killed, other = replicas
    killed.stock_up(tea=5)
    assert other.units("tea") == (5, 0)
    hold.arm(CrashPoint.BATCH_COMMITTED)
    killed.put([sell("o1", ("tea", 2))])
    hold.wait()

    assert other.carry_out(sell("o1", ("tea", 2))).order_sn == "o1"
    assert other.units("tea") == (3, 2)


def test_a_row_that_was_changed_by_hand_is_seen_when_the_entry_expires(caches: Caches, replicas: list[Shop]) -> None:
    one, other = replicas
    one.stock_up(tea=5, mug=5)
    change_by_hand(one, "UPDATE stock SET available = 4, version = 2 WHERE sku = 'tea'")
    change_by_hand(one, "DELETE FROM stock WHERE sku = 'mug'")
    caches.move_on(caches.expiry)
    assert other.units("tea") == (4, 0)
    with pytest.raises(SkuNotFound):
        other.units("mug")


def test_a_sell_begins_with_what_the_cache_has_and_reads_no_row(
    replicas: list[Shop], monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = replicas
    one.stock_up(tea=5, mug=5)
    assert one.units("tea") == one.units("mug") == (5, 0)  # from now on the cache has them
    looked: list[Any] = []
    monkeypatch.setattr(Repository, "hold", lambda *_: looked.append(1))

    other.carry_out(sell("o1", ("tea", 2), ("mug", 1)))

    assert not looked
    monkeypatch.undo()
    assert (other.units("tea"), other.units("mug"), other.differences()) == ((3, 2), (4, 1), [])


def test_a_sell_that_begins_with_a_stale_row_takes_from_what_there_is(replicas: list[Shop]) -> None:
    one, other = replicas
    one.stock_up(tea=5, mug=0)
    assert (one.units("tea"), one.units("mug")) == ((5, 0), (0, 0))  # from now on the cache has them
    untold = StockWriter(one.database, LocalLock(), SystemClock())
    untold.start()
    untold.carry_out(sell("o1", ("tea", 4)), soon())
    untold.carry_out(AdjustStock("more", "mug", 2, ""), soon())
    untold.close()

    outcomes = other.outcomes([sell("o2", ("tea", 1)), sell("o3", ("tea", 1)), sell("o4", ("mug", 2))])

    assert [type(outcome) for outcome in outcomes] == [Sale, NoStock, Sale]
    assert (other.units("tea"), other.units("mug"), other.differences()) == ((0, 5), (0, 2), [])


def test_an_order_that_bought_before_gets_its_first_answer_though_the_cache_has_its_stock(
    replicas: list[Shop],
) -> None:
    one, other = replicas
    one.stock_up(tea=3)
    first = one.carry_out(sell("o1", ("tea", 3)))

    assert other.carry_out(sell("o1", ("tea", 3))) == first
    assert other.outcomes([sell("o1", ("tea", 3)), sell("o2", ("tea", 1))])[0] == first
    assert other.units("tea") == (0, 3)


@pytest.mark.parametrize("locked", [True, False], ids=["with the lock", "without the lock"])
def test_callers_that_sell_and_read_at_two_replicas_at_once_never_see_stock_go_back(
    engine: str, tmp_path: Path, caches: Caches, *, locked: bool
) -> None:
    locks = [LocalLock()] * 2 if locked else [LocalLock(), LocalLock()]
    with (
        replica(tmp_path, caches.replicas[0], locks[0]) as one,
        replica(tmp_path, caches.replicas[-1], locks[1]) as other,
    ):
        sell_and_read([one, other])


def sell_and_read(replicas: list[Shop]) -> None:
    replicas[0].stock_up(tea=10_000)
    over = Event()

    def read(shop: Shop) -> int:
        last = reads = 0
        while not over.wait(0.001):  # or it keeps Python's lock to itself
            version = shop.queries.get_stock("tea", soon()).version
            assert version >= last
            last, reads = version, reads + 1
        return reads

    def sell_and_look(number: int) -> None:
        for each in range(100):
            replicas[number % 2].carry_out(sell(f"o{number}-{each}", ("tea", 1)))
            before = replicas[(number + each) % 2].units("tea")[1]
            assert before > each

    with ThreadPoolExecutor(12) as pool:
        readers = [pool.submit(read, shop) for shop in replicas * 2]
        try:
            for seller in [pool.submit(sell_and_look, number) for number in range(8)]:
                seller.result(TIMEOUT_S)
        finally:
            over.set()
        assert all(reader.result(TIMEOUT_S) > 0 for reader in readers)
    assert replicas[0].units("tea") == (9200, 800)


@pytest.fixture
def services(engine: str, tmp_path: Path) -> Iterator[list[RunningService]]:
    """Two whole services, and a cache that they share; one service where nothing can be shared."""
    with ExitStack() as opened:
        url = f"{REDIS_URL}{HERE}&timeout=20&prefix={uuid4().hex}:" if REDIS_URL else f"local://{HERE}"
        yield [
            opened.enter_context(running_service(tmp_path, {"cache_url": url})) for _ in range(2 if REDIS_URL else 1)
        ]


def test_after_an_answered_call_the_next_shows_it_whichever_replica_answers(services: list[RunningService]) -> None:
    one, other = services[0], services[-1]
    one.stock_up(tea=20, mug=20)
    for number in range(10):
        one.sell(f"o{number}", {"tea": 1, "mug": 2})
        both = other.stub.BatchGetStocks(pb.BatchGetStocksRequest(skus=["tea", "mug"]), timeout=TIMEOUT_S).stocks
        assert [stock.available for stock in both] == [19 - number, 18 - 2 * number]
    other.reback("o0")
    assert one.units("tea") == (11, 9)


def test_the_cache_that_the_settings_name_is_used_and_none_is_one_too(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a word of it: a file's one process keeps stock, replicas on a server do not, each for itself."""
    looks: list[list[str]] = []
    kept_by_default = engine == "sqlite"
    look_up = Queries._look_up

    def spied(queries: Queries, skus: list[str]) -> Any:
        looks.append(skus)
        return look_up(queries, skus)

    monkeypatch.setattr(Queries, "_look_up", spied)
    for url, expected in (("none://", 3), (f"local://{HERE}", 0), ("", 0 if kept_by_default else 3)):
        with running_service(tmp_path, {"cache_url": url}) as running:
            running.stock_up(tea=5)
            looks.clear()
            assert [running.units("tea") for _ in range(3)] == [(5, 0)] * 3
            assert len(looks) == expected
