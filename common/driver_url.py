"""The URL that picks a driver: read strictly, into a pydantic model of what it says.

    scheme://user:password@host:port,host:port/path?name=value&name=value

A driver's URL is a subclass of `DriverUrl`. Its fields with a rule (common/text_rules.py) are the parameters; of the
other parts it names those that it reads. Whatever it does not read is refused, so that nothing of a URL is passed over
in silence. A special character of a part is written as %23 and so on; this is the one place that decodes it.

No text made here has a secret: `str()` and `repr()` of a URL, and every error, mask it.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Final, Self
from urllib.parse import quote, unquote

from pydantic import BaseModel, ConfigDict, PrivateAttr, SecretStr, ValidationError, model_serializer

from common.addresses import split_address
from common.text_rules import Secret, TextRule, rule_of

MASK: Final = "***"

_URL: Final = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://"
    r"(?:(?P<user_info>[^/?#]*)@)?(?P<addresses>[^/?#@]*)(?P<path>[^?#]*)"
    r"(?:\?(?P<query>[^#]*))?(?:#(?P<fragment>.*))?",
    re.DOTALL,
)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_BROKEN_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ANY_URL: Final = re.compile(  # also a broken one
    r"([A-Za-z][A-Za-z0-9+.-]*)://(?:([^/?#]*)@)?([^/?#@]*)([^?]*)(\??)(.*)", re.DOTALL
)
_HOST: Final = re.compile(r"(?:(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?)?")  # or none


class Part(StrEnum):
    """The parts of a URL that not every driver reads."""

    USER = "user"
    ADDRESSES = "host"
    PATH = "path"


@dataclass(frozen=True, slots=True)
class UrlParts:
    """A URL in its parts, as they are written; `None`: not there.

    Attributes:
        scheme: In small letters.
        user_info: What stands before the @.
        addresses: What stands between that and the path.
        path: With its first slash.
        query: What stands after the ?.
    """

    scheme: str
    user_info: str | None
    addresses: str
    path: str
    query: str | None


class DriverUrl(BaseModel):
    """What a URL says.

    Attributes:
        form: How such a URL is written, for errors and the docs.
        reads: The parts that it reads besides its parameters.
        scheme: Its first word, in small letters.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    form: ClassVar[str]
    reads: ClassVar[frozenset[Part]] = frozenset()

    scheme: str

    _text: SecretStr = PrivateAttr(default=SecretStr(""))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a URL.

        Raises:
            ValueError: It is wrong. The text names each wrong part or parameter with its rule, and has no secret.
        """
        parts = split_url(text)
        for part, written in ((Part.USER, parts.user_info), (Part.ADDRESSES, parts.addresses), (Part.PATH, parts.path)):
            if written and written != "/" and part not in cls.reads:
                raise ValueError(f"has a {part}, which {parts.scheme}:// does not take; {cls._written()}")
        try:
            values = cls.values_of(parts)
        except ValueError as error:
            raise ValueError(f"{error}; {cls._written()}") from None
        parameters = cls.parameters_of(_pairs(parts.query))
        for name in parameters:
            if name in values:
                raise ValueError(f"the {name} is given twice")
        try:
            url = cls.model_validate({"scheme": parts.scheme, **values, **parameters})
        except ValidationError as error:
            raise ValueError("; ".join(_messages(error))) from None
        url._text = SecretStr(text)  # noqa: SLF001 - its own
        return url

    @classmethod
    def values_of(cls, parts: UrlParts) -> dict[str, Any]:
        """The fields that user, host and path give.

        Raises:
            ValueError: A part is wrong; the text names it, and has no secret.
        """
        del parts
        return {}

    @classmethod
    def parameters_of(cls, pairs: Mapping[str, str]) -> Mapping[str, Any]:
        """The fields that the parameters give.

        Raises:
            ValueError: There is no such parameter.
        """
        known = cls.rules()
        for name in pairs:
            if name not in known:
                there = f"there are {', '.join(known)}" if known else "there are none"
                raise ValueError(f"no such parameter {name!r}; {there}")
        return pairs

    @classmethod
    @cache
    def rules(cls) -> dict[str, TextRule]:
        """The parameters and their rules."""
        found = ((name, rule_of(field.metadata)) for name, field in cls.model_fields.items())
        return {name: rule for name, rule in found if rule is not None}

    @classmethod
    def is_public(cls, parameter: str) -> bool:
        """Whether a parameter may be shown."""
        rule = cls.rules().get(parameter)
        return rule is not None and not isinstance(rule, Secret)

    def check_installed(self) -> None:
        """Check that this machine has what the driver needs besides its Python package.

        Raises:
            ValueError: It has not; the text says what is missing.
        """

    def reveal(self, *, without: Collection[str] = ()) -> str:
        """The URL with its secrets, for another process or driver.

        Args:
            without: Parameters to leave out.
        """
        text = self._text.get_secret_value()
        if not without:
            return text
        start, _, query = text.partition("?")
        kept = "&".join(pair for pair in query.split("&") if unquote(pair.partition("=")[0]) not in without)
        return f"{start}?{kept}" if kept else start

    def __str__(self) -> str:
        return mask_url(self.reveal(), type(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"

    @model_serializer
    def _masked(self) -> str:
        return str(self)

    @classmethod
    def _written(cls) -> str:
        return f"expected {cls.form}"


def split_url(text: str) -> UrlParts:
    """The parts of a URL.

    Raises:
        ValueError: It is none, or has what no driver reads. The text quotes nothing of it.
    """
    if _CONTROL.search(text):
        raise ValueError("has a control character, which is written as %0A and so on")
    if text != text.strip():
        raise ValueError("begins or ends with a blank, which is written as %20")
    match = _URL.fullmatch(text)
    if match is None:
        raise ValueError("is not a URL, such as scheme://…")
    if match["fragment"] is not None:
        raise ValueError("has a #, and nothing reads what stands after it; it is written as %23")
    if "@" in match["path"] or "@" in (match["query"] or ""):
        raise ValueError("has an @ after / or ?; in a path, user, password or parameter write %40, %2F and %3F")
    if match["user_info"] == "":
        raise ValueError("the user before @ is empty")
    if match["query"] == "":
        raise ValueError("has no parameter after its ?")
    return UrlParts(match["scheme"].lower(), match["user_info"], match["addresses"], match["path"], match["query"])


def decoded(part: str, text: str) -> str:
    """A part without its %40 and so on.

    Raises:
        ValueError: They are broken; the text names the part.
    """
    if _BROKEN_ESCAPE.search(text):
        raise ValueError(f"its {part} has a % that begins no %40 or the like; a % itself is written as %25")
    try:
        plain = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise ValueError(f"its {part} is not UTF-8") from None
    if _CONTROL.search(plain):
        raise ValueError(f"its {part} has a control character")
    return plain


def user_and_password(parts: UrlParts) -> dict[str, Any]:
    """The fields `user` and `password`, where they are given."""
    user, _, password = (parts.user_info or "").partition(":")
    given = {"user": decoded("user", user), "password": SecretStr(decoded("password", password))}
    return {name: value for name, value in given.items() if value}


def file_of(parts: UrlParts) -> Path:
    """The file that a path names: three slashes before a relative one, four before an absolute one.

    Raises:
        ValueError: It names none.
    """
    path = decoded("path", parts.path[1:])
    if path == ":memory:":
        raise ValueError("names no file: :memory: would be another database for each connection")
    if not path or path.endswith("/"):
        raise ValueError("names no file")
    return Path(path).absolute()


def file_url(scheme: str, file: Path) -> str:
    """The URL of a file, which `file_of` reads."""
    return f"{scheme}:///{quote(str(file))}"


def addresses_of(parts: UrlParts, default_port: int | None = None) -> tuple[tuple[str, int], ...]:
    """Hosts and ports; an IPv6 host keeps its brackets.

    Raises:
        ValueError: One is wrong; the text quotes none, as it may be the end of a password.
    """
    try:
        found = tuple(split_address(address, default_port) for address in parts.addresses.split(","))
    except ValueError:
        raise ValueError("its host must be host:port") from None
    if not all(port for _, port in found):
        raise ValueError("its host must be host:port, with a port above 0")
    return found


def address_of(parts: UrlParts, default_port: int | None = None) -> tuple[str, int]:
    """Host and port, of one address.

    Raises:
        ValueError: It is wrong, or there are several.
    """
    first, *more = addresses_of(parts, default_port)
    if more:
        raise ValueError("its host must be one host:port")
    return first


def mask_url(text: str, url_class: type[DriverUrl] | None = None) -> str:
    """A URL as a log may have it, however broken it is: what may be a secret is masked.

    That is the user, and every parameter that `url_class` does not call public; and all that follows the scheme where
    it can't be told what is what.
    """
    match = _ANY_URL.fullmatch(text)
    if match is None:
        return MASK if "@" in text or ":" in text else text
    scheme, user, addresses, path, question, query = match.groups("")
    unclear = {"@", "#"} & {*path, *query} or not all(_HOST.fullmatch(each) for each in addresses.split(","))
    if unclear:
        return f"{scheme}://{MASK}"
    pairs = "&".join(_masked_pair(pair, url_class) for pair in query.split("&"))
    return f"{scheme}://{user and f'{MASK}@'}{addresses}{path}{question}{pairs}"


def _masked_pair(pair: str, url_class: type[DriverUrl] | None) -> str:
    name, equals, _ = pair.partition("=")
    if not pair or (url_class is not None and url_class.is_public(name)):
        return pair
    return f"{name}={MASK}" if equals else MASK


def _pairs(query: str | None) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for pair in query.split("&") if query is not None else ():
        name, equals, value = pair.partition("=")
        if not name or not equals:
            raise ValueError("has something after ? that is not name=value&name=value")
        name = decoded("parameter's name", name)
        if name in pairs:
            raise ValueError(f"{name} is given twice")
        pairs[name] = decoded(name, value)
    return pairs


def _messages(error: ValidationError) -> list[str]:
    """What is wrong, each with its parameter."""
    found = []
    for each in error.errors(include_url=False, include_input=False):
        text = str(each.get("ctx", {}).get("error", each["msg"]))
        if each["type"] == "missing":
            text = "is missing"
        found.append(" ".join([*map(str, each["loc"]), text]))
    return found
