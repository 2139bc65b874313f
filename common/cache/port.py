"""The cache port: rows with a version. No reader gets an older row after a newer one.

    reader   read ──▶ miss ──▶ reads the database ──▶ fill
    writer   now  ──▶ reads, writes, COMMIT       ──▶ change ──▶ answers its callers

**After `change` returned True every `read`, in any process, finds that row, a newer one, or nothing.** So a reader that
reads the database on a miss never shows less than what callers were answered.

Two rules ensure that. A row never replaces one with a higher version. And a row is accepted only if its caller began to
read it within the last `expiry` (`since`), by the cache's clock: a reader or writer that was stopped in between comes
too late, when a newer row may have expired already. A fill that comes too late does nothing. A change that comes too
late leaves a mark: the older row is gone and is not accepted any more.

How stale can a row be? Not at all, unless the cache missed a change: the writer was killed between COMMIT and `change`,
the cache could not be reached (`change` returned False) or lost its data, or rows were changed by hand. Then an older
row lives for `expiry`, or for twice as long if the caller that put it there was stopped for that long.

Nothing here raises because an engine is down: then every read is a miss, and nothing is kept.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final, NamedTuple

Row = tuple[int, ...]
"""A row of whole numbers below 2^63. The first is its version, from 1 to 2^53: it grows with each change of the row."""

UNKNOWN: Final = 0
"""An unknown moment: a row that was read then always comes too late."""

EXPIRY: Final = timedelta(seconds=5)
"""How long an entry lives, unless the URL says otherwise."""


class Reading(NamedTuple):
    """What was found, and the time of the read by the cache's clock, for `fill`."""

    rows: Mapping[str, Row]
    since: int


class Cache(ABC):
    """Rows by their keys."""

    @abstractmethod
    def now(self) -> int:
        """The time by the cache's clock, for `change`. Called before the rows are read; costs no trip."""

    @abstractmethod
    def read(self, keys: Sequence[str]) -> Reading:
        """The rows that are there."""

    @abstractmethod
    def fill(self, rows: Mapping[str, Row], since: int) -> None:
        """Keep rows that `read` missed.

        Args:
            rows: As they are committed, read after `since`.
            since: Of the `Reading` that missed them.
        """

    @abstractmethod
    def change(self, rows: Mapping[str, Row], since: int) -> bool:
        """Keep changed rows, in one trip.

        Args:
            rows: As committed, read and written after `since`. Rows that were only read may be among them: their last
                writer may have been killed before it wrote to the cache.
            since: What `now` returned before that.

        Returns:
            Whether the cache has them. If not, others may find older rows until those expire.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the engine. Afterwards every read is a miss, and nothing is kept."""
