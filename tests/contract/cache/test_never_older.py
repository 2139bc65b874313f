"""Whatever order readers, writers and time come in: nobody is shown an older row after a newer one."""

import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Final

import pytest

from common.cache.port import Cache, Row
from tests.support.caches import DRIVERS, Caches, own_caches

KEYS: Final = ("tea", "mug")
ACTORS: Final = 4
STEPS: Final = 60

PLACES: Final = [("local", 1000, 3000), ("local", 1, 3000), *([("redis", 0, 300)] if "redis" in DRIVERS else [])]
"""The driver, how many entries there may be where that can be told, and how many runs."""


class World:
    """A database with a cache before it; what was committed, answered and shown."""

    def __init__(self, caches: Caches, chance: random.Random) -> None:
        self.caches = caches
        self.chance = chance
        self.time = timedelta(0)
        self.commits = {key: [self.time] for key in KEYS}  # when each version was committed, from 1 on
        self.least = dict.fromkeys(KEYS, 0)  # the newest version that anybody was answered or shown

    def let_time_pass(self) -> None:
        by = self.caches.expiry * self.chance.choice([1, 5, 9, 11]) / 10
        self.time += by
        self.caches.move_on(by)

    def actor(self) -> Iterator[None]:
        """Somebody's steps; between any two of them he may be stopped for any time."""
        cache, key = self.chance.choice(self.caches.replicas), self.chance.choice(KEYS)
        return self.reads(cache, key) if self.chance.random() < 0.6 else self.writes(cache, key)

    def reads(self, cache: Cache, key: str) -> Iterator[None]:
        rows, since = cache.read([key])
        if key in rows:
            self.show(key, rows[key])
            return
        me = object()
        self.caches.moments[me] = since
        yield
        row = self.newest(key)
        yield
        cache.fill({key: row}, self.caches.moments.pop(me))

    def writes(self, cache: Cache, key: str) -> Iterator[None]:
        me = object()
        self.caches.moments[me] = cache.now()
        yield
        if self.chance.random() < 0.8:  # else it was a repeat, which changes nothing
            self.commits[key].append(self.time)
        row = self.newest(key)
        yield
        since = self.caches.moments.pop(me)
        if self.chance.random() < 0.8:  # else it was killed
            assert cache.change({key: row}, since)
            self.least[key] = max(self.least[key], row[0])

    def newest(self, key: str) -> Row:
        version = len(self.commits[key])
        return version, version * 10, 7

    def show(self, key: str, row: Row) -> None:
        version = row[0]
        assert row == (version, version * 10, 7)
        assert version >= self.least[key], "older than what was answered or shown before"
        self.least[key] = version
        if row != self.newest(key):
            assert self.time - self.commits[key][version] < 2 * self.caches.expiry, "older than an entry may be"


@pytest.mark.parametrize(("driver", "entries", "runs"), PLACES)
def test_nobody_is_shown_an_older_row_after_a_newer_one(driver: str, entries: int, runs: int) -> None:
    """Nor one that is older than a change which was never told, for longer than twice the expiry."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201 pytest shows it when the test fails
    chance = random.Random(seed)
    for _ in range(runs):
        with own_caches(driver, entries=entries) as caches:
            live_through(World(caches, chance))


def live_through(world: World) -> None:
    actors = [world.actor() for _ in range(ACTORS)]
    for _ in range(STEPS):
        if world.chance.random() < 0.15:
            world.let_time_pass()
            continue
        number = world.chance.randrange(ACTORS)
        try:
            next(actors[number])
        except StopIteration:
            actors[number] = world.actor()
