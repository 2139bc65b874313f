"""Where a page ends."""

from collections.abc import Sequence

import pytest

from common import paging
from common.paging import PAGE_BYTES


def paginate(weights: list[int], size: int) -> tuple[int, str]:
    """How many rows of these weights make a page, and its token."""
    rows = list(enumerate(weights))
    page, token = paging.paginate(rows, size, lambda row: (row[0],), lambda row: row[1])
    assert page == rows[: len(page)]
    return len(page), token


@pytest.mark.parametrize(
    ("weights", "size", "page"),
    [
        ([1, 1, 1], 2, 2),
        ([1, 1], 2, 2),
        ([PAGE_BYTES // 2] * 4, 3, 2),
        ([PAGE_BYTES // 2] * 3, 3, 2),
        ([PAGE_BYTES * 2, 1, 1], 3, 1),
        ([PAGE_BYTES, 1], 2, 1),
        ([1, PAGE_BYTES * 2], 2, 1),
        ([], 2, 0),
    ],
)
def test_a_page_ends_at_its_size_or_where_it_gets_too_heavy_but_is_never_empty(
    weights: list[int], size: int, page: int
) -> None:
    rows, token = paginate(weights, size)

    assert rows == page
    assert bool(token) == (page < len(weights))
    if token:
        assert paging.decode(token, int) == (page - 1,)


def test_rows_that_are_not_weighed_go_by_number_alone() -> None:
    assert paging.paginate(["a", "b"], 2, lambda row: (row,)) == (["a", "b"], "")


@pytest.mark.parametrize(
    ("weights", "fitting"),
    [([1, 1], 2), ([PAGE_BYTES, 1], 1), ([PAGE_BYTES * 2], 1), ([1, PAGE_BYTES * 2, 1], 1), ([PAGE_BYTES // 2] * 3, 2)],
)
def test_as_many_rows_as_fit_but_at_least_one(weights: list[int], fitting: int) -> None:
    assert paging.fit(weights, lambda weight: weight) == fitting


def test_rows_are_loaded_until_an_answer_is_full() -> None:
    loaded: list[int] = []

    def load(keys: Sequence[int]) -> list[int]:
        loaded.extend(keys)
        return [PAGE_BYTES // 150 for _ in keys]

    keys = list(range(1_000))
    rows, unread = paging.load_until_full(keys, load, lambda weight: weight)

    assert len(rows) == len(loaded)
    assert [*loaded, *unread] == keys
    assert 150 < len(rows) <= 250


def test_rows_that_are_not_there_fill_no_answer() -> None:
    assert paging.load_until_full(range(1_000), lambda _: list[int](), lambda weight: weight) == ([], range(0))
