"""The database goes away: at COMMIT, before it, for a while."""

import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from common.database import CommitUnknown, Database, DatabaseUnavailable
from inventory_srv.domain.errors import NoStock
from inventory_srv.domain.records import SaleState
from tests.component.inventory.shop import Shop, open_shop
from tests.support.stock_changes import adjust, reback, sell, set_stock

Trouble = Callable[[Callable[[], None]], None]
"""What happens instead of a COMMIT; gets the real one."""


class TroubledDatabase(Database):
    """A database whose next commits go as `troubles` say."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.troubles: list[Trouble] = []
        self.down = False

    def _commit(self) -> None:
        if self.troubles:
            self.troubles.pop(0)(super()._commit)
        else:
            super()._commit()

    def write(self, *args: Any, **kwargs: Any) -> Any:
        if self.down:
            raise DatabaseUnavailable("the database is down")
        return super().write(*args, **kwargs)


def landed_unheard(commit: Callable[[], None]) -> None:
    commit()
    raise CommitUnknown("lost the connection while waiting for the answer")


def never_arrived(_: Callable[[], None]) -> None:
    raise CommitUnknown("lost the connection before it was sent")


@pytest.fixture
def shop(engine: str, tmp_path: Path) -> Iterator[Shop]:
    with open_shop(tmp_path / "inventory.db", make_database=TroubledDatabase) as opened:
        opened.stock_up(tea=10, mug=10)
        yield opened


def troubles(shop: Shop) -> list[Trouble]:
    assert isinstance(shop.database, TroubledDatabase)
    return shop.database.troubles


@pytest.mark.parametrize("trouble", [landed_unheard, never_arrived])
def test_a_sell_whose_commit_got_no_answer_is_made_exactly_once(shop: Shop, trouble: Trouble) -> None:
    troubles(shop).append(trouble)

    sale = shop.carry_out(sell("o1", ("tea", 2), ("mug", 1)))

    assert sale == shop.queries.get_sale("o1")
    assert sale.state is SaleState.SOLD
    assert shop.units("tea") == (8, 2)
    assert shop.differences() == []


@pytest.mark.parametrize("trouble", [landed_unheard, never_arrived])
def test_every_kind_of_change_survives_a_lost_commit(shop: Shop, trouble: Trouble) -> None:
    shop.carry_out(sell("o1", ("tea", 2)))
    troubles(shop).append(trouble)

    returned, tombstone, created, adjusted, refused = shop.outcomes(
        [
            reback("o1"),
            reback("o2"),
            set_stock("pot", 4, expected=0),
            adjust("mug", -3),
            sell("o3", ("tea", 11)),
        ]
    )

    assert (returned.state, tombstone.state) == (SaleState.RETURNED, SaleState.RETURNED)
    assert (created.available, created.version) == (4, 1)
    assert (adjusted.available, adjusted.version) == (7, 2)
    assert isinstance(refused, NoStock)
    assert shop.units("tea") == (10, 0)
    assert len(shop.table("movement")) == 2 + 1 + 1 + 1 + 1
    assert shop.differences() == []


def test_after_a_lost_commit_each_caller_of_the_batch_gets_its_own_outcome(shop: Shop) -> None:
    troubles(shop).append(landed_unheard)

    outcomes = shop.outcomes([sell("o1", ("tea", 4)), sell("o2", ("tea", 4)), sell("o3", ("tea", 4))])

    assert [getattr(outcome, "state", None) for outcome in outcomes] == ["SOLD", "SOLD", None]
    assert shop.units("tea") == (2, 8)


def test_commits_that_never_get_an_answer_end_as_unavailable(shop: Shop) -> None:
    troubles(shop).extend([never_arrived] * 3)

    outcome = shop.outcomes([sell("o1", ("tea", 2))])[0]

    assert isinstance(outcome, CommitUnknown)
    assert shop.units("tea") == (10, 0)
    assert shop.carry_out(sell("o1", ("tea", 2))).state is SaleState.SOLD


def test_when_it_cannot_be_read_whether_it_landed_the_callers_are_told_unavailable(shop: Shop) -> None:
    database = shop.database
    assert isinstance(database, TroubledDatabase)

    def landed_then_down(commit: Callable[[], None]) -> None:
        commit()
        database.down = True
        raise CommitUnknown("lost the connection")

    troubles(shop).append(landed_then_down)
    assert isinstance(shop.outcomes([sell("o1", ("tea", 2))])[0], DatabaseUnavailable)

    database.down = False
    assert shop.carry_out(sell("o1", ("tea", 2))).state is SaleState.SOLD
    assert shop.units("tea") == (8, 2)


def test_while_the_database_is_down_everyone_is_told_and_the_writer_goes_on(shop: Shop) -> None:
    database = shop.database
    assert isinstance(database, TroubledDatabase)
    database.down = True

    outcomes = shop.outcomes([sell(f"o{n}", ("tea", 1)) for n in range(5)])

    assert {type(outcome) for outcome in outcomes} == {DatabaseUnavailable}
    database.down = False
    assert shop.carry_out(sell("o1", ("tea", 1))).state is SaleState.SOLD
    assert shop.units("tea") == (9, 1)


def test_while_another_process_holds_the_file_too_long_everyone_is_told(
    tmp_path: Path,
) -> None:
    file = tmp_path / "inventory.db"
    with open_shop(file, make_database=lambda url: Database(url, busy_timeout=0.01, timeout=0.1)) as shop:
        shop.stock_up(tea=1)
        other = sqlite3.connect(file, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")

        outcome = shop.outcomes([sell("o1", ("tea", 1))])[0]

        other.execute("ROLLBACK")
        other.close()
        assert isinstance(outcome, DatabaseUnavailable)
        assert shop.carry_out(sell("o1", ("tea", 1))).state is SaleState.SOLD
