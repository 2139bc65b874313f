"""Statements as text: each engine's placeholder, and many rows in one statement."""

from collections.abc import Sequence
from functools import cache
from typing import Any

Statement = tuple[str, Sequence[Any]]
"""SQL that every engine knows, with `?` for each value; and its values."""


def padded(keys: Sequence[Any]) -> list[Any]:
    """Keys for an `IN (…)`, the last one repeated until their number is a power of two.

    So an engine meets few different statements, and can keep them prepared.
    """
    size = 1 << (len(keys) - 1).bit_length() if keys else 0
    return [*keys, *list(keys[-1:]) * (size - len(keys))]


@cache
def marks(count: int) -> str:
    """So many placeholders, for the values of an `IN (…)`."""
    return ", ".join("?" * count)


@cache
def with_placeholder(statement: str, placeholder: str) -> str:
    """The statement with an engine's own placeholder for `?`."""
    return statement.replace("?", placeholder)


@cache
def insert_statement(into: str, rows: int, columns: int) -> str:
    """An INSERT of so many rows; `into` is the table and its columns."""
    row = f"({marks(columns)})"
    return f"INSERT INTO {into} VALUES {', '.join([row] * rows)}"  # noqa: S608 made of what this program wrote itself


@cache
def update_statement(what: str, condition: str, rows: int) -> str:
    """An UPDATE of so many rows; `condition` identifies one of them."""
    return f"UPDATE {what} WHERE {' OR '.join([condition] * rows)}"
