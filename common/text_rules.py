"""What a value may be that comes as text: a setting, or a parameter of a URL.

A rule stands in the annotation of a pydantic field: `threads: Annotated[int, WholeNumber(1, 1024)]`. It reads the text
strictly, checks the value, and says in words what is allowed, for errors and for docs/settings.md.
"""

import os
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from datetime import timedelta
from math import isfinite
from pathlib import Path
from typing import Any, Final

from pydantic import GetCoreSchemaHandler, SecretStr
from pydantic_core import CoreSchema, core_schema

from common.addresses import split_address, split_advertised
from common.plain_numbers import decimal_number, whole_number

LONGEST: Final = timedelta(days=3660)
"""The longest time that can be set, ten years."""


class TextRule(ABC):
    """A rule for one field."""

    @property
    @abstractmethod
    def allowed(self) -> str:
        """What the value must be, in words."""

    @abstractmethod
    def read(self, text: str) -> Any:
        """The value that the text stands for.

        Raises:
            ValueError: It stands for none. The error that a person reads says what is allowed.
        """

    def allows(self, value: Any) -> bool:  # noqa: ARG002 - of rules whose text says it all
        """Whether a value that was read, or that code gave, is within the limits."""
        return True

    def check(self, value: object) -> Any:
        """The value that a field gets.

        Raises:
            ValueError: It is not allowed; the text quotes nothing of it, as it may be a secret.
        """
        try:
            checked = self.read(value) if isinstance(value, str) else value
            allowed = self.allows(checked)
        except (TypeError, ValueError):
            allowed = False
        if not allowed:
            raise ValueError(f"must be {self.allowed}")
        return checked

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.check)


@dataclass(frozen=True, slots=True)
class WholeNumber(TextRule):
    """A whole number within limits."""

    least: int
    most: int

    @property
    def allowed(self) -> str:
        return f"a whole number from {self.least} to {self.most}"

    def read(self, text: str) -> int:
        return whole_number(text)

    def allows(self, value: Any) -> bool:
        return type(value) is int and self.least <= value <= self.most


@dataclass(frozen=True, slots=True)
class Seconds(TextRule):
    """A time within limits, both in seconds; `above`: the lower limit itself is not allowed."""

    least: float = 0
    most: float = LONGEST.total_seconds()
    above: bool = False

    @property
    def allowed(self) -> str:
        least = f"above {_plain(self.least)} and up to" if self.above else f"from {_plain(self.least)} to"
        return f"a number of seconds {least} {_plain(self.most)}, such as 30 or 0.5"

    def read(self, text: str) -> timedelta:
        return timedelta(seconds=decimal_number(text))

    def check(self, value: object) -> Any:
        if isinstance(value, int | float) and not isinstance(value, bool):  # given by code
            value = timedelta(seconds=value) if isfinite(value) else None
        return TextRule.check(self, value)

    def allows(self, value: Any) -> bool:
        if not isinstance(value, timedelta):
            return False
        seconds = value.total_seconds()
        return self.least <= seconds <= self.most and not (self.above and seconds == self.least)


@dataclass(frozen=True, slots=True)
class WholeSeconds(WholeNumber):
    """A time within limits, where an engine counts in whole seconds."""

    @property
    def allowed(self) -> str:
        return f"a whole number of seconds from {self.least} to {self.most}"


@dataclass(frozen=True, slots=True)
class Switch(TextRule):
    """`on` or `off`."""

    @property
    def allowed(self) -> str:
        return "on or off"

    def read(self, text: str) -> bool:
        return {"on": True, "off": False}[text.lower()] if text.lower() in {"on", "off"} else _refuse()

    def allows(self, value: Any) -> bool:
        return isinstance(value, bool)


class OneOf(TextRule):
    """One of a few words, in capitals or not."""

    def __init__(self, *words: str) -> None:
        self._words = words

    @property
    def allowed(self) -> str:
        *others, last = self._words
        return f"{', '.join(others)} or {last}" if others else last

    def read(self, text: str) -> str:
        return text.lower()

    def allows(self, value: Any) -> bool:
        return value in self._words


@dataclass(frozen=True, slots=True)
class Matching(TextRule):
    """Text of a pattern; `allowed` says it in words."""

    pattern: str
    words: str

    @property
    def allowed(self) -> str:
        return self.words

    def read(self, text: str) -> str:
        return text

    def allows(self, value: Any) -> bool:
        return isinstance(value, str) and re.fullmatch(self.pattern, value, re.ASCII) is not None


@dataclass(frozen=True, slots=True)
class PlainText(TextRule):
    """Text that is not empty."""

    @property
    def allowed(self) -> str:
        return "a text that is not empty"

    def read(self, text: str) -> str:
        return text

    def allows(self, value: Any) -> bool:
        return bool(value != "")


@dataclass(frozen=True, slots=True)
class Secret(TextRule):
    """Text that nothing prints."""

    @property
    def allowed(self) -> str:
        return "a text that is not empty; no log shows it"

    def read(self, text: str) -> SecretStr:
        return SecretStr(text)

    def allows(self, value: Any) -> bool:
        return isinstance(value, SecretStr) and value.get_secret_value() != ""


@dataclass(frozen=True, slots=True)
class ExistingFile(TextRule):
    """The path of a file that is there and can be read."""

    @property
    def allowed(self) -> str:
        return "the path of a file that can be read"

    def read(self, text: str) -> str:
        return text

    def allows(self, value: Any) -> bool:
        return Path(value).is_file() and os.access(value, os.R_OK)


@dataclass(frozen=True, slots=True)
class Address(TextRule):
    """Where to listen or whom to call.

    Attributes:
        words: What is allowed.
        may_be_empty: Whether empty means none.
        callable_: Whether port 0 is none.
    """

    words: str
    may_be_empty: bool = False
    callable_: bool = False

    @property
    def allowed(self) -> str:
        return self.words

    def read(self, text: str) -> str:
        if text or not self.may_be_empty:
            _, port = split_address(text)
            if self.callable_ and port == 0:
                _refuse()
        return text


@dataclass(frozen=True, slots=True)
class AdvertisedAddress(TextRule):
    """The address that others call."""

    @property
    def allowed(self) -> str:
        return "host:port or a host, such as 10.0.0.5, or empty: the address that it listens on"

    def read(self, text: str) -> str:
        if text:
            split_advertised(text)
        return text


def rule_of(metadata: list[Any]) -> TextRule | None:
    """The rule among a pydantic field's annotations."""
    return next((each for each in metadata if isinstance(each, TextRule)), None)


def _refuse() -> Any:
    raise ValueError


def _plain(seconds: float) -> str:
    if seconds == LONGEST.total_seconds():
        return "ten years"
    return f"{seconds:f}".rstrip("0").rstrip(".")
