"""What the URL of an embedded broker says: `embedded:///relative.db` or `embedded:////absolute.db`.

All processes that share a file should say the same.
"""

from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import Field

from common.driver_url import DriverUrl, Part, UrlParts, file_of
from common.text_rules import Seconds, Switch, WholeNumber


class EmbeddedUrl(DriverUrl):
    """Which file, and how it is used."""

    form: ClassVar[str] = "embedded:///relative.db or embedded:////absolute.db"
    reads: ClassVar[frozenset[Part]] = frozenset({Part.PATH})

    path: Path
    check_after: Annotated[timedelta, Seconds()] = Field(
        timedelta(seconds=6), description="how long after a half message its first check-back is sent"
    )
    check_every: Annotated[timedelta, Seconds()] = Field(
        timedelta(seconds=5), description="the pause between two check-backs of a half message"
    )
    # For ever is the safest default: nothing is lost while nobody can answer.
    check_max: Annotated[int, WholeNumber(0, 1_000_000)] = Field(
        0, description="after how many check-backs a half message becomes a dead letter of `%check-back`; 0: never"
    )
    recheck: Annotated[bool, Switch()] = Field(
        default=False,
        description="do as RocketMQ does: check back once more, `check_after` later, on half messages that are "
        "resolved already, and deliver again when the answer is COMMIT; for tests that checkers and consumers are "
        "repeatable",
    )
    handlers: Annotated[int, WholeNumber(1, 1024)] = Field(
        8, description="how many messages of one subscription are handled at once in this process"
    )
    lease: Annotated[timedelta, Seconds(above=True)] = Field(
        timedelta(seconds=10),
        description="how long a message belongs to the process that took it; renewed while the handler runs, so that "
        "another process takes it this long after the first one died",
    )
    tries: Annotated[int, WholeNumber(1, 1_000_000)] = Field(
        16, description="how often a message is tried before it is a dead letter"
    )
    retry_after: Annotated[timedelta, Seconds()] = Field(
        timedelta(seconds=1),
        description="the pause after the first failed try; the next ones grow as RocketMQ's delay levels do",
    )
    keep_settled: Annotated[timedelta, Seconds()] = Field(
        timedelta(minutes=10),
        description="how long a half message is kept that a check-back rolled back, so that a COMMIT that comes later "
        "is still obeyed",
    )
    busy_timeout: Annotated[timedelta, Seconds(0, 3600, above=True)] = Field(
        timedelta(seconds=5), description="how long to wait for the file while another process writes"
    )

    @classmethod
    def values_of(cls, parts: UrlParts) -> dict[str, Any]:
        return {"path": file_of(parts)}
