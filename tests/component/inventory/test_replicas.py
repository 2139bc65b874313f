"""Two replicas of the service on one database, each with a lock of its own: the rows alone keep them apart."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from inventory_srv.crash_points import CrashPoint
from inventory_srv.domain.changes import Change
from inventory_srv.domain.records import Sale, SaleState
from tests.component.inventory.shop import Hold, Shop, open_shop, outcome_of
from tests.support.databases import is_waiting_for_rows, url_of
from tests.support.stock_changes import adjust, reback, sell, set_stock
from tests.support.waiting import TIMEOUT_S, wait_until

SKUS = [f"s{n:02}" for n in range(12)]

NOT_AT_ALL = timedelta(0)  # nothing is known from the batch before, so the rows are held


@pytest.fixture
def replicas(engine: str, tmp_path: Path) -> Iterator[list[Shop]]:
    file = tmp_path / "inventory.db"
    with open_shop(file) as one, open_shop(file) as other:
        yield [one, other]


def at_both(replicas: list[Shop], of_one: list[Change], of_other: list[Change]) -> tuple[list[object], list[object]]:
    """Both get their changes at the same time."""
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(shop.outcomes, list(c)) for shop, c in zip(replicas, [of_one, of_other], strict=True)]
        one, other = [future.result(TIMEOUT_S) for future in futures]
        return one, other


def test_pitfall_02_what_is_left_of_each_sku_is_read_when_its_row_is_held(
    engine: str, tmp_path: Path, hold: Hold
) -> None:
    """The first sku's row is held when the last unit of the second is sold elsewhere."""
    file = tmp_path / "inventory.db"
    with (
        open_shop(file, crash_hook=hold.crash_hook, keep_lock=NOT_AT_ALL) as one,
        open_shop(file, keep_lock=NOT_AT_ALL) as other,
    ):
        one.stock_up(cup=5, tea=1)
        hold.arm(CrashPoint.ROWS_HELD)
        (first,) = one.put([sell("o1", ("tea", 1))])
        hold.wait()
        (second,) = other.put([sell("o2", ("cup", 2), ("tea", 1))])
        wait_until_it_waits(engine, tmp_path, second)
        hold.let_go()

        assert outcome_of(first).state is SaleState.SOLD
        assert outcome_of(second).reason == "NO_STOCK"
        assert (one.units("cup"), one.units("tea")) == ((5, 0), (0, 1))
        assert one.differences() == []


def wait_until_it_waits(engine: str, folder: Path, change: Any) -> None:
    """Wait until a replica has begun a change and waits for what another holds."""
    if engine == "mysql":
        wait_until(lambda: is_waiting_for_rows(url_of(folder, "inventory")), "it waits for rows")
    else:
        wait_until(change.running, "it waits for the file")


def test_pitfall_03_reversed_lists_at_two_replicas_never_wait_for_each_other(replicas: list[Shop]) -> None:
    replicas[0].stock_up(**dict.fromkeys(SKUS, 100))
    forwards = [sell(f"f{n}", *[(sku, 1) for sku in SKUS]) for n in range(50)]
    backwards = [sell(f"b{n}", *[(sku, 1) for sku in reversed(SKUS)]) for n in range(50)]

    one, other = at_both(replicas, list(forwards), list(backwards))

    assert all(isinstance(outcome, Sale) for outcome in one + other)
    assert {replicas[0].units(sku) for sku in SKUS} == {(0, 100)}
    assert replicas[0].differences() == []


def test_pitfall_05_the_same_orders_at_two_replicas_sell_once_and_get_the_same_answer(replicas: list[Shop]) -> None:
    replicas[0].stock_up(tea=100)
    orders: list[Change] = [sell(f"o{n}", ("tea", 1)) for n in range(100)]

    one, other = at_both(replicas, orders, orders[::-1])

    assert one == other[::-1]
    assert replicas[0].units("tea") == (0, 100)
    assert replicas[1].differences() == []


@pytest.mark.parametrize(
    "change",
    [
        sell("o1", ("tea", 1)),
        adjust("tea", -1, request_id="r1"),
        set_stock("tea", 5, request_id="r1", expected=1),
    ],
    ids=["sell", "adjust", "set"],
)
def test_pitfall_05_a_repeat_that_waits_for_the_rows_of_the_first_gets_the_firsts_answer(
    engine: str, tmp_path: Path, hold: Hold, change: Change
) -> None:
    """On a server it has looked for its key by then, in vain: afterwards the stock alone would refuse it."""
    file = tmp_path / "inventory.db"
    with (
        open_shop(file, crash_hook=hold.crash_hook, keep_lock=NOT_AT_ALL) as one,
        open_shop(file, keep_lock=NOT_AT_ALL) as other,
    ):
        one.stock_up(tea=1)
        hold.arm(CrashPoint.ROWS_HELD)
        (first,) = one.put([change])
        hold.wait()
        (repeat,) = other.put([change])
        wait_until_it_waits(engine, tmp_path, repeat)
        hold.let_go()

        assert outcome_of(repeat) == outcome_of(first)
        assert not isinstance(outcome_of(first), Exception)
        assert len(other.table("movement")) == 2
        assert other.differences() == []


def test_pitfall_06_sells_and_rebacks_of_the_same_orders_at_two_replicas_leave_nothing_sold(
    replicas: list[Shop],
) -> None:
    replicas[0].stock_up(tea=100)

    sells, rebacks = at_both(
        replicas, [sell(f"o{n}", ("tea", 1)) for n in range(100)], [reback(f"o{n}") for n in range(100)]
    )

    assert all(isinstance(outcome, Sale) or getattr(outcome, "reason", "") == "SALE_RETURNED" for outcome in sells)
    assert all(isinstance(outcome, Sale) and outcome.state is SaleState.RETURNED for outcome in rebacks)
    assert replicas[0].units("tea") == (100, 0)
    assert replicas[0].differences() == []


def test_one_request_at_two_replicas_counts_once(replicas: list[Shop]) -> None:
    replicas[0].stock_up(tea=0)
    requests: list[Change] = [adjust("tea", 1, request_id=f"r{n}") for n in range(30)]
    requests += [set_stock(f"new{n}", 5, request_id=f"new{n}", expected=0) for n in range(10)]

    one, other = at_both(replicas, requests, requests)

    assert one == other
    assert replicas[0].units("tea") == (30, 0)


def test_whatever_two_replicas_do_the_books_balance(replicas: list[Shop]) -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 pytest shows it when the test fails
    chance = random.Random(seed)
    replicas[0].stock_up(**dict.fromkeys(SKUS, 20))

    def some_change() -> Change:
        order_sn = f"o{chance.randrange(60)}"
        match chance.randrange(4):
            case 0:
                return reback(order_sn)
            case 1:
                return adjust(chance.choice(SKUS), chance.choice([-2, 3]))
            case _:
                return sell(order_sn, *[(sku, 1) for sku in chance.sample(SKUS, 3)])

    at_both(replicas, [some_change() for _ in range(150)], [some_change() for _ in range(150)])

    assert replicas[0].differences() == []
    for sku in SKUS:
        movements = replicas[0].queries.list_movements(sku, None, 1000, "").rows
        put_in = sum(row.movement.delta for row in movements if row.movement.order_sn is None)
        assert put_in == sum(replicas[0].units(sku))
        assert min(row.movement.available_after for row in movements) >= 0
