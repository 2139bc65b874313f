"""Merging changes nothing: one batch, or each change alone, the outcomes and the books are the same."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from common.errors import DomainError
from inventory_srv.adapters.models import TABLES
from inventory_srv.domain.changes import Change
from tests.component.inventory.shop import Shop, open_shop
from tests.support.manual_clock import ManualClock
from tests.support.random_stock_changes import batches

Books = dict[str, list[tuple[Any, ...]]]


@pytest.fixture
def merging(engine: str, tmp_path: Path) -> Iterator[Shop]:
    with open_shop(tmp_path / "merging.db", clock=ManualClock(), batch=256, keep_lock=timedelta(0)) as shop:
        yield shop


@pytest.fixture
def one_by_one(engine: str, tmp_path: Path) -> Iterator[Shop]:
    with open_shop(tmp_path / "one_by_one.db", clock=ManualClock(), batch=1, keep_lock=timedelta(0)) as shop:
        yield shop


# Both shops are emptied for each example, so nothing may be kept in memory; and one takes too long to be made smaller.
@settings(
    max_examples=60,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)
@given(batches)
def test_a_merged_batch_and_single_changes_come_to_the_same(
    merging: Shop, one_by_one: Shop, changes: list[Change]
) -> None:
    empty(merging)
    empty(one_by_one)

    assert outcomes_of(merging, changes) == outcomes_of(one_by_one, changes)
    assert books_of(merging) == books_of(one_by_one)
    assert merging.differences() == []


def outcomes_of(shop: Shop, changes: list[Change]) -> list[Any]:
    return [
        (outcome.reason, outcome.metadata) if isinstance(outcome, DomainError) else outcome
        for outcome in shop.outcomes(changes)
    ]


def books_of(shop: Shop) -> Books:
    return {table._meta.table_name: shop.table(table._meta.table_name) for table in TABLES}


def empty(shop: Shop) -> None:
    def delete_all() -> None:
        for table in TABLES:
            shop.database.engine.execute_sql(f"DELETE FROM {table._meta.table_name}")

    shop.database.write(delete_all)
