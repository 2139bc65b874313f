"""The tables: as the models say, with an index for every list, guarding what must never be."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import peewee
import pytest
from playhouse.schema_diff import diff_models

from common import paging
from common.database import Database
from inventory_srv.adapters.models import TABLES
from inventory_srv.domain.records import SaleState
from tests.component.inventory.shop import Shop, soon
from tests.support.stock_changes import START, adjust, reback, sell

Statement = tuple[str, Any]

BEYOND = paging.encode((1, "o1"))


@contextmanager
def recorded(database: Database) -> Iterator[list[Statement]]:
    """The statements that are run meanwhile."""
    statements: list[Statement] = []
    as_it_is = database.engine.execute_sql

    def record(sql: str, params: Any = None, *more: Any) -> Any:
        statements.append((sql, params))
        return as_it_is(sql, params, *more)

    database.engine.execute_sql = record
    try:
        yield statements
    finally:
        database.engine.execute_sql = as_it_is


def plan_of(database: Database, statement: Statement) -> list[str]:
    sql, params = statement
    with database.reading():
        rows = database.engine.execute_sql(f"EXPLAIN QUERY PLAN {sql}", params).fetchall()
    return [row[3] for row in rows]


def plans_of(shop: Shop, action: Callable[[Shop], object]) -> list[str]:
    """How SQLite finds the rows of every SELECT of an action."""
    with recorded(shop.database) as statements:
        action(shop)
    selects = [statement for statement in statements if re.match(r"\s*(SELECT|WITH)", statement[0])]
    return [step for statement in selects for step in plan_of(shop.database, statement)]


def test_the_migrated_tables_are_those_of_the_models(shop: Shop) -> None:
    with shop.database.reading(), shop.database.engine.bind_ctx(TABLES):
        assert str(diff_models(shop.database.engine, TABLES)) == ""


LINES = "SEARCH t1 USING PRIMARY KEY (order_sn=?)"


@pytest.mark.parametrize(
    ("action", "plan"),
    [
        (lambda shop: shop.queries.batch_get_stocks(["tea"]), ["SEARCH t1 USING PRIMARY KEY (sku=?)"]),
        # Without a beginning or an end it reads the first rows of the table as it is ordered, no more than a page.
        (lambda shop: shop.queries.list_stocks("", 10, ""), ["SCAN t1"]),
        (lambda shop: shop.queries.list_stocks("", 10, paging.encode(("a",))), ["SEARCH t1 USING PRIMARY KEY (sku>?)"]),
        (lambda shop: shop.queries.list_stocks("t", 10, ""), ["SEARCH t1 USING PRIMARY KEY (sku>? AND sku<?)"]),
        (lambda shop: shop.queries.batch_get_sales(["o1"]), ["SEARCH t1 USING PRIMARY KEY (order_sn=?)", LINES]),
        (
            lambda shop: shop.queries.list_sales(None, None, 10, ""),
            ["SCAN t1 USING INDEX sale_add_time_order_sn", LINES],
        ),
        (
            lambda shop: shop.queries.list_sales(None, START, 10, BEYOND),
            ["SEARCH t1 USING INDEX sale_add_time_order_sn (add_time<?)"],
        ),
        (
            lambda shop: shop.queries.list_sales(SaleState.SOLD, None, 10, ""),
            ["SEARCH t1 USING INDEX sale_state_add_time_order_sn (state=?)", LINES],
        ),
        (
            lambda shop: shop.queries.list_sales(SaleState.SOLD, START, 10, BEYOND),
            ["SEARCH t1 USING INDEX sale_state_add_time_order_sn (state=? AND add_time<?)"],
        ),
        (
            lambda shop: shop.queries.list_movements("tea", None, 10, paging.encode((99,))),
            ["SEARCH t1 USING INDEX movement_sku_id (sku=? AND id<?)"],
        ),
        (
            lambda shop: shop.queries.list_movements(None, "o1", 10, ""),
            ["SEARCH t1 USING INDEX movement_order_sn_id (order_sn=?)"],
        ),
    ],
)
@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_every_list_is_read_by_its_index_without_sorting(
    shop: Shop, action: Callable[[Shop], object], plan: list[str]
) -> None:
    shop.stock_up(tea=5)
    shop.carry_out(sell("o1", ("tea", 1)))

    assert plans_of(shop, action) == plan


@pytest.mark.parametrize(
    "action",
    [
        lambda shop: shop.audit.page(10, ""),
        lambda shop: shop.outcomes([sell("o1", ("tea", 1)), reback("o1"), reback("o2"), adjust("tea", 1)]),
    ],
    ids=["audit", "writer"],
)
@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_the_audit_and_the_writer_never_scan_a_table_or_sort(shop: Shop, action: Callable[[Shop], object]) -> None:
    shop.stock_up(tea=5)
    shop.carry_out(sell("o1", ("tea", 1)))

    steps = plans_of(shop, action)

    assert steps
    assert [step for step in steps if "TEMP B-TREE" in step or (step.startswith("SCAN") and step != "SCAN steps")] == []


@pytest.mark.parametrize("column", ["available", "sold"])
def test_the_database_itself_refuses_a_stock_below_zero(shop: Shop, column: str) -> None:
    shop.stock_up(tea=5)

    with pytest.raises(peewee.IntegrityError, match=r"CHECK|CONSTRAINT"):
        shop.database.write(lambda: shop.database.engine.execute_sql(f"UPDATE stock SET {column} = -1"))


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO sale VALUES ('o1', 'SOLD', NULL, '', 0, 0)",
        "INSERT INTO sale_line VALUES ('o1', 'tea', 1)",
        "INSERT INTO stock VALUES ('tea', 1, 0, 1, 0, 0)",
        "INSERT INTO stock_request VALUES ('stock up tea', '', 'tea', 0, 0, 0, 0)",
    ],
)
def test_the_database_itself_refuses_a_second_row_of_a_key(shop: Shop, statement: str) -> None:
    shop.stock_up(tea=5)
    shop.carry_out(sell("o1", ("tea", 1)))

    with pytest.raises(peewee.IntegrityError, match=r"UNIQUE|Duplicate"):
        shop.database.write(lambda: shop.database.engine.execute_sql(statement))


def test_pitfall_08_the_longest_names_are_kept_whole(shop: Shop) -> None:
    skus = [f"🍵{n:03}" + "茶" * 60 for n in range(100)]
    order_sn, reason = "訂" * 64, "返" * 200
    shop.stock_up(**dict.fromkeys(skus, 2**31 - 1))

    shop.carry_out(sell(order_sn, *[(sku, 2**31 - 1) for sku in skus]))
    sale = shop.writer.carry_out(reback(order_sn, reason), soon())

    assert sale == shop.queries.get_sale(order_sn)
    assert (sale.order_sn, sale.return_reason) == (order_sn, reason)
    assert [(line.sku, line.quantity) for line in sale.lines] == [(sku, 2**31 - 1) for sku in skus]
    movement = shop.queries.list_movements(skus[0], None, 1, "").rows[0].movement
    assert (movement.sku, movement.order_sn, movement.reason) == (skus[0], order_sn, reason)


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_pitfall_08_every_column_has_room_for_what_the_contract_allows(shop: Shop) -> None:
    """SQLite forgives a column that is too short; other engines do not."""
    allowed = {"sku": 64, "order_sn": 64, "request_id": 64, "reason": 200, "return_reason": 200}
    with shop.database.reading():
        declared = {
            (table, column): kind
            for (table,) in shop.database.engine.execute_sql("SELECT name FROM sqlite_master WHERE type = 'table'")
            for column, kind in shop.database.engine.execute_sql(f"SELECT name, type FROM pragma_table_info('{table}')")
        }

    rooms = {place: int(kind[8:-1]) for place, kind in declared.items() if kind.startswith("VARCHAR")}
    assert all(rooms[place] >= allowed[place[1]] for place in rooms if place[1] in allowed)
    assert {place[1] for place in rooms} >= allowed.keys()
