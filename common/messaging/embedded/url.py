"""What can be said in the URL of an embedded broker.

`embedded:///relative.db` (three slashes) or `embedded:////absolute.db` (four), then `?name=value&…`. All processes
that share a file should say the same.
"""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

from common.url_options import read_options

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


def parse_url(url: str) -> tuple[Path, EmbeddedOptions]:
    """Read the URL of an embedded broker.

    Raises:
        ValueError: It is wrong; the text says what is allowed.
    """
    parts = urlsplit(url)
    path = unquote(parts.path[1:])
    if parts.scheme != "embedded" or parts.netloc or parts.fragment or path.endswith("/") or not path:
        raise ValueError(f"{url!r} names no file; allowed is {ALLOWED_URL}")
    options = read_options(
        parts.query,
        EmbeddedOptions(),
        at_least_one=("handlers", "tries"),
        above_zero=("lease", "busy_timeout"),
    )
    return Path(path).absolute(), options
