"""Sells of stock that neither memory nor cache knows: taken for new, they ask for that stock alone."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from inventory_srv.domain.errors import NoStock
from inventory_srv.domain.records import Sale
from tests.component.inventory.shop import Hold, Shop, open_shop
from tests.component.inventory.test_tables import recorded
from tests.support.stock_changes import sell

pytestmark = pytest.mark.usefixtures("engine")

_READ = re.compile(r"SELECT .*? FROM .?(\w+)", re.DOTALL)


@pytest.fixture
def forgetful(tmp_path: Path, hold: Hold) -> Iterator[Shop]:
    """A shop that keeps no lock, and so knows no stock."""
    with open_shop(tmp_path / "inventory.db", keep_lock=timedelta(), crash_hook=hold.crash_hook) as shop:
        shop.stock_up(tea=3, jam=5)
        yield shop


def test_a_new_sell_asks_for_its_stock_alone(forgetful: Shop) -> None:
    with recorded(forgetful.database) as statements:
        forgetful.carry_out(sell("o1", ("tea", 1), ("jam", 1)))
    assert [table for sql, _ in statements for table in _READ.findall(sql)] == ["stock"]
    assert (forgetful.units("tea"), forgetful.units("jam")) == ((2, 1), (4, 1))


def test_a_repeat_gets_its_first_answer_though_all_is_sold(forgetful: Shop) -> None:
    first = forgetful.carry_out(sell("o1", ("tea", 2)))
    forgetful.carry_out(sell("o2", ("tea", 1)))
    assert forgetful.carry_out(sell("o1", ("tea", 2))) == first
    assert isinstance(forgetful.refusal_of("o3", ("tea", 1)), NoStock)
    assert forgetful.units("tea") == (0, 3)
    assert forgetful.differences() == []


def test_a_repeat_among_new_sells_leaves_each_its_own_outcome(forgetful: Shop) -> None:
    first = forgetful.carry_out(sell("o1", ("tea", 2)))
    changes = [sell("o2", ("jam", 4)), sell("o1", ("tea", 2)), sell("o3", ("jam", 4)), sell("o4", ("tea", 1))]
    new, repeated, refused, last = forgetful.outcomes(changes)
    assert (new.order_sn, repeated, last.order_sn) == ("o2", first, "o4")
    assert isinstance(refused, NoStock)
    assert all(isinstance(each, Sale) for each in (new, repeated, last))
    assert (forgetful.units("tea"), forgetful.units("jam")) == ((0, 3), (1, 4))
    assert forgetful.differences() == []
