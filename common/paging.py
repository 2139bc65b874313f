"""Pages of a list by key set: a token holds the sort key of the last row, so that a page costs the same anywhere."""

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate, takewhile
from typing import Generic, NamedTuple, TypeVar

from common.errors import InvalidArgument, Violation

DEFAULT_PAGE_SIZE = 50
PAGE_BYTES = 3_000_000
"""How many bytes the rows of one page have at most, unless a single row has more: clients accept 4 MB by default."""

Key = tuple[str | int, ...]
Row = TypeVar("Row")
Raw = TypeVar("Raw")

_LOADED_AT_ONCE = 100  # rows that may have a hundred lines each


class Page(NamedTuple, Generic[Row]):
    """Rows of a list, and the token of the next page; empty on the last."""

    rows: list[Row]
    next_page_token: str


def page_size(asked: int) -> int:
    """The rows of a page: what was asked, or the default for 0."""
    return asked or DEFAULT_PAGE_SIZE


def encode(key: Key) -> str:
    """Make an opaque token of the last row's key."""
    return base64.urlsafe_b64encode(json.dumps(key, separators=(",", ":")).encode()).decode()


def decode(token: str, *kinds: type) -> Key | None:
    """Read the key back; None for the first page.

    Raises:
        InvalidArgument: This list never gave such a token.
    """
    if not token:
        return None
    try:
        key = json.loads(base64.b64decode(token, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError):  # the last: of brackets in brackets
        key = None
    if not isinstance(key, list) or [type(part) for part in key] != list(kinds) or not all(map(_is_kept, key)):
        raise InvalidArgument(
            "the page_token is not one of this list",
            violations=[Violation("page_token", "must be the next_page_token of an earlier page of this list")],
        )
    return tuple(key)


def fit(rows: Iterable[Row], size_of: Callable[[Row], int]) -> int:
    """How many of the first rows fit into one answer, but at least one.

    Args:
        rows: In the order of the answer.
        size_of: About how many bytes a row takes in it.
    """
    totals = accumulate(map(size_of, rows))
    return max(1, sum(1 for _ in takewhile(lambda total: total <= PAGE_BYTES, totals)))


def load_until_full(
    keys: Sequence[Raw], load: Callable[[Sequence[Raw]], Sequence[Row]], size_of: Callable[[Row], int]
) -> tuple[list[Row], Sequence[Raw]]:
    """Load rows that may be large, some at a time, and stop once they are more than fit into one answer.

    Args:
        keys: What to load, in order.
        load: Loads the rows of some of them, in that order.
        size_of: About how many bytes a row takes in the answer.

    Returns:
        The rows, and the keys that were not loaded.
    """
    rows: list[Row] = []
    used = done = 0
    while done < len(keys) and used <= PAGE_BYTES:
        loaded = load(keys[done : done + _LOADED_AT_ONCE])
        done += _LOADED_AT_ONCE
        rows += loaded
        used += sum(map(size_of, loaded))
    return rows, keys[done:]


def paginate(
    rows: Sequence[Row], size: int, key: Callable[[Row], Key], size_of: Callable[[Row], int] | None = None
) -> Page[Row]:
    """Split fetched rows into a page and the token of the next one; the token is empty on the last page.

    Args:
        rows: `size + 1` of them; fewer when there are no more.
        size: The longest page.
        key: What a row is sorted by.
        size_of: About how many bytes a row takes in the answer, for rows that may be large: a page of them ends early.
    """
    page = list(rows[:size])
    if size_of is not None:
        page = page[: fit(page, size_of)]
    return Page(page, encode(key(page[-1])) if len(rows) > len(page) else "")


def _is_kept(part: str | int) -> bool:
    """Whether a database can have such a value: a token may have been made by hand."""
    if isinstance(part, int):
        return -(2**63) <= part < 2**63
    return not any("\ud800" <= character <= "\udfff" for character in part)  # halves of characters
