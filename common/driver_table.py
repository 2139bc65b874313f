"""Which drivers a port has, by the schemes of their URLs. A driver is imported when a URL picks it, not before."""

from collections.abc import Mapping
from dataclasses import dataclass
from pkgutil import resolve_name
from types import NoneType
from typing import Any, Final, Generic, TypeVar, get_args

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from common.driver_url import DriverUrl, mask_url
from common.text_rules import TextRule

P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class Driver:
    """A driver, by names that are imported when it is picked: `package.module:name`.

    Attributes:
        url: The class of its URL.
        opens: What makes it of the URL, and of whatever else its port needs.
    """

    url: str
    opens: str


class Drivers(TextRule, Generic[P]):
    """The drivers of a port; `P` is the port.

    It is also the rule of a setting: `database_url: Annotated[DriverUrl, DATABASES]`.
    """

    def __init__(self, table: Mapping[str, Driver]) -> None:
        self.table: Final = table

    @property
    def allowed(self) -> str:
        return f"a URL that begins with {_either([f'{scheme}://' for scheme in self.table])}"

    def url_class(self, scheme: str) -> type[DriverUrl]:
        """The class of the URLs of a scheme.

        Raises:
            ValueError: No driver has it; the text says which there are.
        """
        if scheme not in self.table:
            raise ValueError(f"must be {self.allowed}")
        found: type[DriverUrl] = resolve_name(self.table[scheme].url)
        return found

    def read(self, text: str) -> DriverUrl:
        """The URL, read by the driver that it picks.

        Raises:
            ValueError: It is wrong; the text has no secret.
        """
        url = self.url_class(_scheme(text)).parse(text)
        url.check_installed()
        return url

    def open(self, url: str | DriverUrl, *more: Any, **named: Any) -> P:
        """Make the driver that a URL picks, of the URL and of what else the port needs.

        Raises:
            ValueError: The URL is wrong; the text has no secret.
        """
        read = self.check(url)
        made: P = resolve_name(self.table[read.scheme].opens)(read, *more, **named)
        return made

    def check(self, value: object) -> DriverUrl:
        """The URL, read; one of another port is read anew, by the driver that it picks here.

        Raises:
            ValueError: It is wrong; the text has no secret.
        """
        if isinstance(value, DriverUrl):
            return value if isinstance(value, self.url_class(value.scheme)) else self.read(value.reveal())
        return self.read(str(value))

    def mask(self, text: str) -> str:
        """The text of a URL, however broken, as a log may have it."""
        scheme = _scheme(text)
        return mask_url(text, self.url_class(scheme) if scheme in self.table else None)

    def __get_pydantic_core_schema__(self, source: object, handler: GetCoreSchemaHandler) -> CoreSchema:
        may_be_none = NoneType in get_args(source)
        return core_schema.no_info_plain_validator_function(
            (lambda value: self.check(value) if value else None) if may_be_none else self.check,
            serialization=core_schema.to_string_ser_schema(when_used="unless-none"),
        )


def _scheme(text: str) -> str:
    scheme, separator, _ = text.partition("://")
    return scheme.lower() if separator else ""


def _either(words: list[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last
