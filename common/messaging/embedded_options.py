"""What can be said in the URL of an embedded broker.

`embedded:///relative.db` (three slashes) or `embedded:////absolute.db` (four), then `?name=value&…`. All processes
that share a file should say the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

ALLOWED_URL = "embedded:///relative.db or embedded:////absolute.db"


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedOptions:
    """The parameters of the URL; each field is one, times are in seconds there (`lease=0.5`).

    Attributes:
        check_after: How long after a half message its sender is first asked about it.
        check_every: The pause between two rounds of asking.
        check_max: After how many rounds a half message becomes a dead letter of the group `%check-back`. 0: asked
            for ever. That is the default because it is the safest: nothing is lost while nobody can answer.
        ask_again: Do as RocketMQ does: ask once more about half messages that are resolved already, `check_after`
            later, and deliver again when the answer is COMMIT. For tests that checkers and consumers are safe.
        handlers: How many messages of one subscription are handled at once in this process.
        lease: How long a message belongs to the process that took it. Renewed while the handler runs; when the process
            died, another one takes the message after that time.
        tries: How often a message is tried before it is a dead letter.
        retry_after: The pause after the first failed try; the next ones grow as RocketMQ's delay levels do.
        keep_settled: How long a half message is kept that was rolled back by a check-back, so that a COMMIT that comes
            later is still obeyed.
        busy_timeout: How long to wait for the file while another process writes.
    """

    check_after: timedelta = timedelta(seconds=6)
    check_every: timedelta = timedelta(seconds=5)
    check_max: int = 0
    ask_again: bool = False
    handlers: int = 8
    lease: timedelta = timedelta(seconds=10)
    tries: int = 16
    retry_after: timedelta = timedelta(seconds=1)
    keep_settled: timedelta = timedelta(minutes=10)
    busy_timeout: timedelta = timedelta(seconds=5)


AT_LEAST_ONE = ("handlers", "tries")
LONGER_THAN_NOTHING = ("lease", "busy_timeout")


def parse_url(url: str) -> tuple[Path, EmbeddedOptions]:
    """Read the URL of an embedded broker.

    Raises:
        ValueError: It is wrong; the text says what is allowed.
    """
    parts = urlsplit(url)
    path = unquote(parts.path[1:])
    if parts.scheme != "embedded" or parts.netloc or parts.fragment or path.endswith("/") or not path:
        raise ValueError(f"{url!r} names no file; allowed is {ALLOWED_URL}")
    return Path(path).absolute(), _options(parts.query)


def _options(query: str) -> EmbeddedOptions:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError:
        raise ValueError(f"{query!r} is no list of name=value&name=value") from None
    given = dict(pairs)
    if len(given) < len(pairs):
        raise ValueError(f"{query!r} names a parameter twice")
    allowed = [field.name for field in fields(EmbeddedOptions)]
    unknown = [name for name in given if name not in allowed]
    if unknown:
        raise ValueError(f"unknown parameter {unknown[0]!r}; allowed are {', '.join(allowed)}")
    return replace(EmbeddedOptions(), **_typed(given))


def _typed(given: Mapping[str, str]) -> dict[str, Any]:
    defaults = EmbeddedOptions()
    return {name: _value(name, text, getattr(defaults, name)) for name, text in given.items()}


def _value(name: str, text: str, default: object) -> timedelta | int | bool:
    if isinstance(default, bool):
        if text not in ("0", "1"):
            raise ValueError(f"{name}={text} is wrong; allowed are 0 and 1")
        return text == "1"
    if isinstance(default, int):
        least = 1 if name in AT_LEAST_ONE else 0
        if not text.isdecimal() or int(text) < least:
            raise ValueError(f"{name}={text} is wrong; allowed is a whole number from {least}")
        return int(text)
    try:
        seconds = timedelta(seconds=float(text))
    except (ValueError, OverflowError):
        seconds = timedelta(-1)
    if seconds < timedelta(0) or (not seconds and name in LONGER_THAN_NOTHING):
        limit = "above 0" if name in LONGER_THAN_NOTHING else "from 0"
        raise ValueError(f"{name}={text} is wrong; allowed is a number of seconds {limit}")
    return seconds
