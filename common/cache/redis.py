"""A cache that all replicas share, in one Redis or in the master that Sentinels name: `redis://…`.

common/redis/url.py describes the URL. A key's value is its row, numbers separated by spaces; a mark is the version
alone. Time is Redis's own: every script returns it, and `now` extrapolates from the last one. Every entry expires,
which bounds the memory.

Not for Redis Cluster: a script touches the keys of a whole batch. Its user needs the callers' keys and the key
`cache-probe`.

**When Redis is down** reads go on without it: nobody calls it until one thread has found it back, so an outage costs
each call under way one timeout, `READ_TIMEOUT` at most. Changes have connections and an outage state of their own: a
reader that timed out keeps no writer from telling the cache. After a change that the cache missed, this process does
not use the cache for as long as an older row may be in it.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Final

from pydantic import Field
from redis.exceptions import RedisError

from common.cache.port import EXPIRY, UNKNOWN, Cache, Reading, Row
from common.metrics import CACHE_OUTAGES, CACHE_UNTOLD
from common.redis.pool import TRY_EVERY_S, Get, RedisDown, Script, WatchedPool
from common.redis.url import RedisUrl
from common.text_rules import Seconds

READ_TIMEOUT: Final = timedelta(seconds=0.5)
"""How long a read waits for Redis at most; a change waits for the URL's `timeout`."""

_CLOCK_GOOD_FOR_S: Final = 10.0  # two clocks that run apart by 100 µs a second are then one millisecond apart

_READ: Final = Script("""
-- KEYS    the keys
-- result  lines: the time in ms; the row of each key, empty when there is none
local rows = redis.call('MGET', unpack(KEYS))
for i, row in ipairs(rows) do
  rows[i] = row or ''
end
local now = redis.call('TIME')
table.insert(rows, 1, string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000)))
return table.concat(rows, '\\n')
""")

_GET: Final = Get()

_PUT: Final = Script("""
-- Keep rows, but never replace a newer one, and keep none that comes too late: then a change leaves a mark, its version
-- alone, and a fill leaves nothing. A fill never replaces a row of the same version.
-- KEYS    the keys
-- ARGV    1 since when they were read, ms  2 how long to keep them, ms  3 whether it is a change, 1 or 0  4.. the rows
-- result  the time in ms
local since, expiry, is_change = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3] == '1'
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local too_late = since > now or now - since >= expiry
if is_change or not too_late then
  for i, key in ipairs(KEYS) do
    local row, known = ARGV[3 + i], redis.call('GET', key)
    local version, known_version = string.match(row, '^%d+'), known and string.match(known, '^%d+')
    local newer = not known or tonumber(known_version) < tonumber(version)
    local same = known and known_version == version
    if newer or (same and not too_late and (is_change or known == known_version)) then
      redis.call('SET', key, too_late and version or row, 'PX', ARGV[2])
    end
  end
end
return string.format('%.0f', now)
""")


class RedisCacheUrl(RedisUrl):
    """Where a Redis is, and how a cache uses it."""

    expiry: Annotated[timedelta, Seconds(0.3, 3600)] = Field(EXPIRY, description="how long an entry lives")


class RedisCache(Cache):
    """Rows in Redis; one trip each to read, fill and change.

    Args:
        url: Which Redis, and how long an entry lives.
    """

    def __init__(self, url: RedisCacheUrl) -> None:
        self._prefix = url.prefix
        self._expiry_s = url.expiry.total_seconds()
        self._expiry_ms = round(self._expiry_s * 1000)
        self._clock = (UNKNOWN, float("-inf"))  # a time of Redis, and the monotonic clock when it arrived
        self._untold_until = float("-inf")
        read_timeout = min(url.timeout, READ_TIMEOUT)
        for_reads = url.model_copy(
            update={"timeout": read_timeout, "connect_timeout": min(url.connect_timeout, read_timeout)}
        )
        self._reads = _Calls(for_reads, without_it="values are read from their source")
        self._changes = _Calls(url, without_it="other replicas may show older values until they expire there")

    def now(self) -> int:
        told, at = self._clock
        since = time.monotonic() - at
        return told + int(since * 1000) if since < _CLOCK_GOOD_FOR_S else UNKNOWN

    def read(self, keys: Sequence[str]) -> Reading:
        if not keys or self._untold_until > time.monotonic():
            return Reading({}, UNKNOWN)
        since = self.now()
        try:
            if len(keys) == 1 and since != UNKNOWN:
                lines: list[bytes] = [self._reads.call(_GET, self._own(keys)) or b""]
            else:
                told, *lines = self._reads.call(_READ, self._own(keys)).split(b"\n")
                since = self._told(told)
        except RedisDown:
            return Reading({}, UNKNOWN)
        return Reading({key: _row(line) for key, line in zip(keys, lines, strict=True) if b" " in line}, since)

    def fill(self, rows: Mapping[str, Row], since: int) -> None:
        if rows and since != UNKNOWN:
            try:
                self._put(self._reads, rows, since, is_change=0)
            except RedisDown:
                return  # it was only for later readers

    def change(self, rows: Mapping[str, Row], since: int) -> bool:
        if not rows:
            return True
        try:
            self._put(self._changes, rows, since, is_change=1)
        except RedisDown:
            CACHE_UNTOLD.inc()
            self._untold_until = time.monotonic() + 2 * self._expiry_s
            return False
        return True

    def close(self) -> None:
        self._reads.close()
        self._changes.close()

    def _put(self, calls: "_Calls", rows: Mapping[str, Row], since: int, *, is_change: int) -> None:
        texts = [" ".join(map(str, row)) for row in rows.values()]
        self._told(calls.call(_PUT, self._own(rows), since, self._expiry_ms, is_change, *texts))

    def _own(self, keys: Sequence[str] | Mapping[str, Row]) -> list[str]:
        return [self._prefix + key for key in keys]

    def _told(self, moment: bytes) -> int:
        told = int(moment)
        self._clock = (told, time.monotonic())
        return told


class _Calls(WatchedPool):
    """Connections to the cache's Redis; while it is down one thread checks whether it is back."""

    def __init__(self, url: RedisUrl, *, without_it: str) -> None:
        super().__init__(url, back=_nothing, changed=self._look_after, without_it=without_it, outages=CACHE_OUTAGES)
        self._probe = f"{url.prefix}cache-probe"

    def close(self) -> None:
        with self._changing:
            self._up, self._why = False, "it is closed"
        super().close()

    def _look_after(self) -> None:
        if not self.up:
            threading.Thread(target=self._find_it_back, name="cache-probe", daemon=True).start()

    def _find_it_back(self) -> None:
        while not self._closing.wait(TRY_EVERY_S):
            try:
                self.check(self._probe)
            except (RedisError, OSError):
                continue
            self.came_back()
            return


def _row(line: bytes) -> Row:
    return tuple(map(int, line.split()))


def _nothing() -> None:
    pass
