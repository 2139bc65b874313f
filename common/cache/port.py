"""The cache port: rows with a version, kept so that nobody is shown an older one after a newer one.

    reader   read ──▶ not there ──▶ looks in the database ──▶ fill
    writer   now  ──▶ reads, writes, COMMIT               ──▶ change ──▶ answers its callers

**After `change` returned True every `read`, wherever it is made, finds that row or a newer one, or nothing.** So a
reader that looks in the database for what it does not find never shows less than what was answered.

Two things keep that so. A row never takes the place of one with a higher version. And a row is only taken from someone
who began to read it within the last `expiry` (`since`), by the clock of the cache: a reader or writer that was stopped
between the database and here comes too late, when what is newer may have been forgotten. Too late a fill does nothing;
too late a change leaves a mark: what is older is gone, and is not taken any more.

How stale can a row be? Not at all, unless a change was never told: its writer was killed between COMMIT and `change`,
the cache could not be reached (`change` returned False) or lost what it had, or the rows were changed by hand. Then for
`expiry`, which is how long an entry lives; and for twice as long if besides, whoever put it in took that long to do so.

Nothing here raises because an engine is down: then nothing is found, and nothing is kept.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final, NamedTuple

Row = tuple[int, ...]
"""A row of whole numbers below 2^63. The first is its version, from 1 to 2^53: it grows with each change of the row."""

UNKNOWN: Final = 0
"""A moment that nobody knows: whatever was read then comes too late."""

EXPIRY: Final = timedelta(seconds=5)
"""How long an entry lives, unless the URL says otherwise."""


class Reading(NamedTuple):
    """What was found, and when that was asked, by the clock of the cache; for `fill`."""

    rows: Mapping[str, Row]
    since: int


class Cache(ABC):
    """Rows by their keys."""

    @abstractmethod
    def now(self) -> int:
        """A moment that is over, for `change`: asked for before the rows are read, it costs no trip."""

    @abstractmethod
    def read(self, keys: Sequence[str]) -> Reading:
        """The rows that are there."""

    @abstractmethod
    def fill(self, rows: Mapping[str, Row], since: int) -> None:
        """Keep what was not found.

        Args:
            rows: As they are committed, read after `since`.
            since: Of the `Reading` that did not have them.
        """

    @abstractmethod
    def change(self, rows: Mapping[str, Row], since: int) -> bool:
        """Keep what was changed, in one trip.

        Args:
            rows: As they are committed by now, read and written after `since`. One that was only read may be among
                them: perhaps whoever wrote it did not get to tell.
            since: What `now` said before that.

        Returns:
            Whether the cache knows it. If not, others may find older rows until those expire.
        """

    @abstractmethod
    def close(self) -> None:
        """Let go of the engine. Afterwards nothing is found, and nothing is kept."""
