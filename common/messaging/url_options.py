"""Reads the parameters of a driver's URL, `?name=value&…`, into the fields of a dataclass."""

from dataclasses import fields, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


def read_options(query: str, defaults: T) -> T:
    """Read what a URL says.

    Args:
        query: What stands after the question mark.
        defaults: Of every parameter; the type of a default (bool, int, str, timedelta in seconds) tells how its
            value is written.

    Raises:
        ValueError: It is wrong; the text says what is allowed. Limits of single values are the caller's to check.
    """
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise ValueError(f"{query!r} is no list of name=value&name=value") from None
    given = dict(pairs)
    if len(given) < len(pairs):
        raise ValueError(f"{query!r} names a parameter twice")
    allowed = [field.name for field in fields(defaults)]
    unknown = [name for name in given if name not in allowed]
    if unknown:
        raise ValueError(f"unknown parameter {unknown[0]!r}; allowed are {', '.join(allowed)}")
    typed: dict[str, Any] = {name: _value(name, text, getattr(defaults, name)) for name, text in given.items()}
    return replace(defaults, **typed)


def _value(name: str, text: str, default: object) -> timedelta | int | bool | str:
    if isinstance(default, str):
        return text
    if isinstance(default, bool):
        if text not in ("0", "1"):
            raise ValueError(f"{name}={text} is wrong; allowed are 0 and 1")
        return text == "1"
    if isinstance(default, int):
        if not (text.isascii() and text.isdecimal()):
            raise ValueError(f"{name}={text} is wrong; allowed is a whole number from 0")
        return int(text)
    try:
        seconds = timedelta(seconds=float(text))
    except (ValueError, OverflowError):
        seconds = timedelta(-1)
    if seconds < timedelta(0):
        raise ValueError(f"{name}={text} is wrong; allowed is a number of seconds from 0")
    return seconds
