"""Where a page ends."""

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
