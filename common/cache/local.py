"""A cache within one process: `local://`.

Right for one process. Where several stand on one database, a change at one of them shows at the others when their
entries expire.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Annotated, ClassVar, NamedTuple

from pydantic import Field

from common.cache.port import EXPIRY, UNKNOWN, Cache, Reading, Row
from common.driver_url import DriverUrl
from common.text_rules import Seconds, WholeNumber


class LocalCacheUrl(DriverUrl):
    """How a process keeps a cache of its own."""

    form: ClassVar[str] = "local://"

    expiry: Annotated[timedelta, Seconds(0, 3600, above=True)] = Field(EXPIRY, description="how long an entry lives")
    entries: Annotated[int, WholeNumber(1, 10_000_000)] = Field(
        10_000, description="how many there are at most; a row of four numbers takes about 500 bytes"
    )


class _Entry(NamedTuple):
    row: Row  # of its version alone: a mark
    put: int


class LocalCache(Cache):
    """Rows in a dictionary; the entry that was put in first goes first.

    Args:
        expiry: How long an entry lives.
        entries: How many there are at most.
        clock: Nanoseconds that only grow.
    """

    def __init__(self, expiry: timedelta, entries: int, clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._expiry = expiry // timedelta(microseconds=1) * 1000
        self._most = entries
        self._clock = clock
        self._changing = threading.Lock()
        self._entries: dict[str, _Entry] = {}  # in the order in which they were put in
        self._forgotten = UNKNOWN  # when the youngest of those was put in that had to go before it expired
        self._closed = False

    def now(self) -> int:
        return self._clock()

    def read(self, keys: Sequence[str]) -> Reading:
        now = self._clock()
        oldest, entries = now - self._expiry, self._entries
        found = {key: entry.row for key in keys if (entry := entries.get(key)) is not None and entry.put > oldest}
        return Reading({key: row for key, row in found.items() if len(row) > 1}, now)

    def fill(self, rows: Mapping[str, Row], since: int) -> None:
        with self._changing:
            now = self._clock()
            if not self._too_late(since, now):
                for key, row in rows.items():
                    known = self._known(key, now)
                    if known is None or known[0] < row[0] or known == row[:1]:
                        self._put(key, row, now)

    def change(self, rows: Mapping[str, Row], since: int) -> bool:
        with self._changing:
            now = self._clock()
            too_late = self._too_late(since, now)
            for key, row in rows.items():
                known = self._known(key, now)
                if known is None or known[0] < row[0] or (known[0] == row[0] and not too_late):
                    self._put(key, row[:1] if too_late else row, now)
        return True

    def close(self) -> None:
        with self._changing:
            self._closed = True
            self._entries.clear()

    def _too_late(self, since: int, now: int) -> bool:
        return now - since >= self._expiry or since <= self._forgotten

    def _known(self, key: str, now: int) -> Row | None:
        entry = self._entries.get(key)
        return None if entry is None or now - entry.put >= self._expiry else entry.row

    def _put(self, key: str, row: Row, now: int) -> None:
        if self._closed:
            return
        self._entries.pop(key, None)
        self._entries[key] = _Entry(row, now)
        while True:  # expired ones go too, so that an idle cache keeps little
            first = next(iter(self._entries))
            put = self._entries[first].put
            expired = now - put >= self._expiry
            if not expired and len(self._entries) <= self._most:
                return
            del self._entries[first]
            if not expired:
                self._forgotten = put


def open_local(url: LocalCacheUrl) -> LocalCache:
    return LocalCache(url.expiry, url.entries)
