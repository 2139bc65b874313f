"""Archiving moves what is long over, once, and the books balance at every moment of it."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from common.database import Database, to_micros
from inventory_srv.bootstrap import MIGRATIONS
from inventory_srv.domain.records import SaleState, StockDifference
from inventory_srv.use_cases.archive import Archive
from tests.component.inventory.shop import Shop
from tests.support.databases import url_of
from tests.support.stock_changes import adjust, reback, sell
from tests.support.waiting import TIMEOUT_S

NOW_ON: Final = datetime(2100, 1, 1, tzinfo=UTC)
LONG_AGO: Final = datetime(2000, 1, 1, tzinfo=UTC)
FINISHED: Final = {"o1", "o3"}


@pytest.fixture
def shop(shop: Shop) -> Shop:
    """A shop with some history: an order that is finished, one that lives, one given back, and a tombstone."""
    shop.stock_up(tea=10, mug=10)
    shop.carry_out(sell("o1", ("tea", 3), ("mug", 1)))
    shop.carry_out(sell("o2", ("tea", 2)))
    shop.carry_out(sell("o4", ("mug", 5)))
    shop.carry_out(reback("o4"))
    shop.carry_out(reback("o5"))
    shop.carry_out(adjust("tea", 1))
    return shop


@pytest.fixture
def place(shop: Shop, tmp_path: Path) -> Iterator[Database]:
    """Where the archive is."""
    database = Database(url_of(tmp_path, "archive"))
    database.migrate(MIGRATIONS)
    yield database
    database.close()


def finished(order_sns: Sequence[str]) -> set[str]:
    return FINISHED & set(order_sns)


def archive_all(shop: Shop, place: Database, before: datetime = NOW_ON) -> tuple[int, int, int]:
    """How many movements, sales and requests were moved."""
    archive = Archive(shop.database, place, finished)
    return archive.movements(before), archive.sales(before), archive.requests(before)


def table(database: Database, name: str) -> list[tuple[Any, ...]]:
    with database.reading():
        return list(database.execute(f"SELECT * FROM {name} ORDER BY 1, 2").fetchall())


MOVED: Final = ("movement", "sale", "sale_line", "stock_request")


def test_what_is_over_is_moved_as_it_is_and_the_books_still_balance(shop: Shop, place: Database) -> None:
    before = {name: table(shop.database, name) for name in MOVED}

    assert archive_all(shop, place) == (8, 3, 3)

    assert shop.differences() == []
    assert {name: sorted([*table(shop.database, name), *table(place, name)]) for name in MOVED} == before
    assert [row[0] for row in table(shop.database, "sale")] == ["o2"]
    assert [row[:2] for row in table(shop.database, "sale_line")] == [("o2", "tea")]
    assert table(shop.database, "movement") == table(shop.database, "stock_request") == []
    assert table(shop.database, "opening_balance") == [("mug", 9, 1, 1), ("tea", 6, 5, 3)]


def test_again_moves_nothing_and_what_happens_afterwards_still_balances(shop: Shop, place: Database) -> None:
    archive_all(shop, place)
    assert archive_all(shop, place) == (0, 0, 0)

    shop.carry_out(reback("o2"))
    shop.carry_out(sell("o3", ("tea", 4), ("mug", 4)))

    assert (shop.units("tea"), shop.units("mug")) == ((4, 7), (5, 5))
    assert shop.differences() == []
    assert archive_all(shop, place) == (3, 2, 0)
    assert shop.differences() == []
    assert table(shop.database, "opening_balance") == [("mug", 5, 5, 5), ("tea", 4, 7, 7)]


def test_what_is_younger_stays(shop: Shop, place: Database) -> None:
    assert archive_all(shop, place, LONG_AGO) == (0, 0, 0)

    def age() -> None:
        old = to_micros(LONG_AGO) - 1
        shop.database.execute("UPDATE sale SET add_time = ? WHERE order_sn IN ('o1', 'o4')", (old,))
        shop.database.execute("UPDATE movement SET add_time = ? WHERE kind = 'SET'", (old,))

    shop.database.write(age)

    assert archive_all(shop, place, LONG_AGO) == (2, 1, 0), "o4 was returned only now"
    assert shop.queries.get_sale("o4").state is SaleState.RETURNED
    assert shop.differences() == []


def test_a_difference_is_still_found(shop: Shop, place: Database) -> None:
    archive_all(shop, place)

    shop.database.write(lambda: shop.database.execute("UPDATE stock SET available = 9 WHERE sku = 'tea'"))

    assert shop.differences() == [StockDifference("tea", 9, 5, 6, 5, 5)]


@pytest.mark.parametrize("step", ["_delete_movements", "_delete_sales"])
def test_an_archiver_that_dies_before_it_deletes_rows_is_completed_by_the_next(
    shop: Shop, place: Database, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {name: table(shop.database, name) for name in MOVED}

    class Died(Exception):
        pass

    def die(*_: object) -> None:
        raise Died

    with monkeypatch.context() as dying:
        dying.setattr(Archive, step, die)
        with pytest.raises(Died):
            archive_all(shop, place)
    assert shop.differences() == []

    archive_all(shop, place)

    assert shop.differences() == []
    assert {name: sorted([*table(shop.database, name), *table(place, name)]) for name in MOVED} == before


def test_two_archivers_at_once_while_others_sell_move_each_row_once(
    shop: Shop, place: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inventory_srv.use_cases.archive._PAGE", 7)
    shop.stock_up(cup=1000)
    shop.outcomes([sell(f"early{n}", ("cup", 1), ("tea", 1)) for n in range(4)])
    shop.outcomes([change for n in range(100) for change in (sell(f"n{n}", ("cup", 1)), reback(f"n{n}"))])

    def sell_meanwhile() -> None:
        for n in range(50):
            shop.carry_out(sell(f"m{n}", ("cup", 1)))

    with ThreadPoolExecutor(3) as pool:
        selling = pool.submit(sell_meanwhile)
        archivers = [pool.submit(archive_all, shop, place) for _ in range(2)]
        while not all(each.done() for each in archivers):
            assert shop.differences() == []
        selling.result(TIMEOUT_S)
        for archiver in archivers:
            archiver.result(TIMEOUT_S)
    archive_all(shop, place)

    assert shop.differences() == []
    assert table(shop.database, "movement") == []
    numbers = [row[0] for row in table(place, "movement")]
    assert len(numbers) == len(set(numbers)) == 8 + 1 + 8 + 200 + 50
    live = {"o2", *(f"early{n}" for n in range(4)), *(f"m{n}" for n in range(50))}
    assert {row[0] for row in table(shop.database, "sale")} == live
