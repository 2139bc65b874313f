"""Reads the parameters of a driver's URL, `?name=value&…`."""

from collections.abc import Collection
from dataclasses import fields, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import SplitResult, parse_qsl, urlsplit

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


def split_without_user(url: str, scheme: str, allowed: str) -> SplitResult:
    """The parts of a URL of addresses and parameters alone: no user and password, no path, no fragment.

    Raises:
        ValueError: It has them, or another scheme. The text says what is `allowed`. Where there is an at sign it quotes
            nothing of the URL, as a password may stand before it; nor has the text an at sign, up to which it would be
            masked.
    """
    if "@" in url:
        raise ValueError(f"allowed is {allowed}, with no user and password; elsewhere an at sign is written as %40")
    parts = urlsplit(url)
    if parts.scheme != scheme or parts.path not in ("", "/") or parts.fragment:
        raise ValueError(f"allowed is {allowed}, with no path")
    return parts


def parameters(query: str, allowed: Collection[str]) -> dict[str, str]:
    """What a URL that may hold a secret says, by name.

    Raises:
        ValueError: A name is not allowed or stands twice; the text quotes no value.
    """
    given = parse_qsl(query, keep_blank_values=True)
    names = [name for name, _ in given]
    for name in names:
        if name not in allowed:
            raise ValueError(f"no such parameter {name!r}; there are {', '.join(allowed)}")
        if names.count(name) > 1:
            raise ValueError(f"{name} stands twice")
    return dict(given)


def seconds_between(name: str, text: str, limits: tuple[float, float]) -> timedelta:
    """A time of at least and at most so many seconds.

    Raises:
        ValueError: It is none.
    """
    least, most = limits
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not least <= seconds <= most:
        raise ValueError(f"{name} is a number of seconds from {least:g} to {most:g}")
    return timedelta(seconds=seconds)


def read_options(query: str, defaults: T, *, at_least_one: Collection[str] = (), above_zero: Collection[str] = ()) -> T:
    """Read what a URL says into the fields of a dataclass.

    Args:
        query: What stands after the question mark.
        defaults: Of every parameter; the type of a default (bool, int, str, timedelta in seconds) tells how its
            value is written.
        at_least_one: Whole numbers that can't be 0.
        above_zero: Times that can't be 0.

    Raises:
        ValueError: It is wrong; the text says what is allowed. Other limits are the caller's to check.
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
    typed: dict[str, Any] = {}
    for name, text in given.items():
        match getattr(defaults, name):
            case str():
                typed[name] = text
            case bool():
                typed[name] = _switch(name, text)
            case int():
                typed[name] = _whole_number(name, text, 1 if name in at_least_one else 0)
            case _:
                typed[name] = _seconds(name, text, zero=name not in above_zero)
    return replace(defaults, **typed)


def _switch(name: str, text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError(f"{name}={text} is wrong; allowed are 0 and 1")
    return text == "1"


def _whole_number(name: str, text: str, least: int) -> int:
    if not (text.isascii() and text.isdecimal()) or int(text) < least:
        raise ValueError(f"{name}={text} is wrong; allowed is a whole number from {least}")
    return int(text)


def _seconds(name: str, text: str, *, zero: bool) -> timedelta:
    try:
        seconds = timedelta(seconds=float(text))
    except (ValueError, OverflowError):
        seconds = timedelta(-1)
    if seconds < timedelta(0) or not (seconds or zero):
        limit = "from 0" if zero else "above 0"
        raise ValueError(f"{name}={text} is wrong; allowed is a number of seconds {limit}")
    return seconds
