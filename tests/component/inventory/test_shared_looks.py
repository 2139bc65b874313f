"""GetStock: callers of one moment share a look at the cache, and none shares one that began before it asked."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from common.cache.drivers import open_cache
from common.database import DatabaseUnavailable
from common.deadline import Deadline
from common.errors import DeadlineExceeded
from inventory_srv.adapters.stock_cache import StockCache
from inventory_srv.domain.errors import SkuNotFound
from inventory_srv.domain.records import Stock
from inventory_srv.use_cases.queries import Queries
from tests.component.inventory.shop import Shop, open_shop, soon
from tests.support.stock_changes import sell
from tests.support.waiting import TIMEOUT_S, wait_until

pytestmark = pytest.mark.usefixtures("engine")


class Cache(StockCache):
    """A real one that notes each look, and can hold one or fail.

    Attributes:
        looks: The skus of each.
        held: The next look with this sku is held once it has its answer, until `let_go`.
        failing: What looks with a sku fail with.
    """

    def __init__(self) -> None:
        super().__init__(open_cache("local://"), "inventory")
        self.looks: list[list[str]] = []
        self.held = ""
        self.failing: dict[str, Exception] = {}
        self.let_go = Event()

    def read(self, skus: Sequence[str], look_up: Callable[[Sequence[str]], Iterable[Stock]]) -> Mapping[str, Stock]:
        self.looks.append(list(skus))
        for sku in self.failing.keys() & set(skus):
            raise self.failing[sku]
        found = super().read(skus, look_up)
        if self.held in skus:
            self.held = ""
            assert self.let_go.wait(TIMEOUT_S)
        return found


class Readers:
    """Callers of GetStock, each in a thread of its own; the first one is held in its look."""

    def __init__(self, shop: Shop, cache: Cache, pool: ThreadPoolExecutor) -> None:
        self.shop = shop
        self.cache = cache
        self._pool = pool

    def ask(self, sku: str, deadline: Deadline | None = None) -> "Future[Stock]":
        return self._pool.submit(self.shop.queries.get_stock, sku, deadline or soon())

    def hold_first(self) -> "Future[Stock]":
        self.cache.held = "tea"
        first = self.ask("tea")
        wait_until(lambda: not self.cache.held, "the first look has its answer")
        return first

    def ask_all(self, skus: Sequence[str]) -> "list[Future[Stock]]":
        """Ask, and wait until all of them wait for a look."""
        asked = [self.ask(sku) for sku in skus]
        wait_until(lambda: len(self.shop.queries._looks) == len(skus), "all of them wait")
        return asked


@pytest.fixture
def readers(engine: str, tmp_path: Path) -> Iterator[Readers]:
    cache = Cache()
    with (
        open_shop(tmp_path / "inventory.db", cache=cache) as shop,
        ThreadPoolExecutor(max_workers=32) as pool,
    ):
        shop.queries = Queries(shop.database, cache)
        shop.stock_up(tea=5, mug=3)
        yield Readers(shop, cache, pool)
        cache.let_go.set()


def without_a_second_look_beside(readers: Readers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readers.shop.queries._looks._groups, "_next_after", TIMEOUT_S)


def test_callers_that_wait_share_one_look(readers: Readers, monkeypatch: pytest.MonkeyPatch) -> None:
    without_a_second_look_beside(readers, monkeypatch)
    first = readers.hold_first()
    others = readers.ask_all(["tea", "mug"] * 10)
    readers.cache.let_go.set()

    assert [each.result(TIMEOUT_S).sku for each in [first, *others]] == ["tea", *["tea", "mug"] * 10]
    assert [sorted(skus) for skus in readers.cache.looks] == [["tea"], ["mug", "tea"]]


def test_who_asks_after_a_change_was_answered_sees_it_though_an_older_look_is_under_way(readers: Readers) -> None:
    first = readers.hold_first()
    readers.shop.carry_out(sell("o1", ("tea", 2)))

    assert readers.ask("tea").result(TIMEOUT_S).available == 3
    readers.cache.let_go.set()
    assert first.result(TIMEOUT_S).available == 5  # asked before


def test_a_look_that_hangs_holds_up_nobody_else(readers: Readers) -> None:
    first = readers.hold_first()
    assert readers.ask("mug").result(TIMEOUT_S).available == 3
    assert not first.done()


def test_an_unknown_sku_is_its_callers_alone(readers: Readers, monkeypatch: pytest.MonkeyPatch) -> None:
    without_a_second_look_beside(readers, monkeypatch)
    readers.hold_first()
    mug, who, tea = readers.ask_all(["mug", "who", "tea"])
    readers.cache.let_go.set()

    assert isinstance(who.exception(TIMEOUT_S), SkuNotFound)
    assert (mug.result(TIMEOUT_S).sku, tea.result(TIMEOUT_S).sku) == ("mug", "tea")


def test_a_sku_whose_entry_can_t_be_read_fails_alone(readers: Readers, monkeypatch: pytest.MonkeyPatch) -> None:
    without_a_second_look_beside(readers, monkeypatch)
    readers.hold_first()
    readers.cache.failing["bad"] = ValueError("no row")
    mug, bad, tea = readers.ask_all(["mug", "bad", "tea"])
    readers.cache.let_go.set()

    assert isinstance(bad.exception(TIMEOUT_S), ValueError)
    assert (mug.result(TIMEOUT_S).sku, tea.result(TIMEOUT_S).sku) == ("mug", "tea")


def test_a_database_out_of_reach_is_told_to_all_without_a_look_for_each(
    readers: Readers, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_a_second_look_beside(readers, monkeypatch)
    readers.hold_first()
    readers.cache.failing["mug"] = DatabaseUnavailable("the database can't be used")
    asked = readers.ask_all(["mug"] * 10)
    readers.cache.let_go.set()

    errors = [each.exception(TIMEOUT_S) for each in asked]
    assert all(isinstance(error, DatabaseUnavailable) for error in errors)
    assert len(set(map(id, errors))) == 10
    assert len(readers.cache.looks) == 2


def test_who_no_longer_waits_is_told_at_once(readers: Readers, monkeypatch: pytest.MonkeyPatch) -> None:
    without_a_second_look_beside(readers, monkeypatch)
    readers.hold_first()
    gone = soon()
    asked = readers.ask("tea", gone)
    wait_until(lambda: len(readers.shop.queries._looks) == 1, "it waits")
    gone.cancel()

    assert isinstance(asked.exception(TIMEOUT_S), DeadlineExceeded)
