"""What every cache does, whatever it stands on."""

from datetime import timedelta

from common.cache.port import UNKNOWN, Cache
from tests.support.caches import Caches

SECOND = timedelta(seconds=1)
FIVE, SIX = (5, 50, 0), (6, 40, 10)


def found(cache: Cache, key: str = "tea") -> tuple[int, ...] | None:
    return cache.read([key]).rows.get(key)


def now(cache: Cache) -> int:
    """A moment that the cache surely knows: a read tells it."""
    return cache.read(["nothing"]).since


def test_what_was_never_put_in_is_not_found(cache: Cache) -> None:
    assert cache.read(["tea", "mug"]).rows == {}
    assert cache.read([]).rows == {}


def test_what_was_filled_is_found_by_every_replica(caches: Caches) -> None:
    one, other = caches.replicas[0], caches.replicas[-1]
    reading = one.read(["tea", "mug"])
    one.fill({"tea": FIVE, "mug": (1, 2, 3)}, reading.since)
    assert other.read(["mug", "milk", "tea"]).rows == {"tea": FIVE, "mug": (1, 2, 3)}


def test_what_was_changed_is_found_by_every_replica(caches: Caches) -> None:
    one, other = caches.replicas[0], caches.replicas[-1]
    one.fill({"tea": FIVE}, now(one))
    assert one.change({"tea": SIX}, now(one))
    assert found(other) == SIX
    assert other.change({"tea": (7, 30, 20)}, now(other))
    assert found(one) == (7, 30, 20)


def test_numbers_stay_what_they_were(cache: Cache) -> None:
    rows = {"low": (1, 0, -(2**63)), "high": (2**53, 2**63 - 1, 1), "long": (1, *range(20))}
    cache.change(rows, now(cache))
    assert cache.read(list(rows)).rows == rows


def test_keys_may_be_any_text(cache: Cache) -> None:
    rows = {key: (1, number) for number, key in enumerate(["a b", "a\nb", "茶🍵", "%d", "x" * 300, '"'])}
    cache.change(rows, now(cache))
    assert cache.read(list(rows)).rows == rows


def test_a_thousand_rows_come_in_one_read(cache: Cache) -> None:
    rows = {f"sku-{number}": (1, number) for number in range(1000)}
    cache.fill(rows, now(cache))
    assert cache.read(list(rows)).rows == rows


def test_a_slow_reader_does_not_put_back_what_was_changed_meanwhile(caches: Caches) -> None:
    reader, writer = caches.replicas[0], caches.replicas[-1]
    reading = reader.read(["tea"])  # and finds version 5 in the database, which is then changed
    writer.change({"tea": SIX}, now(writer))
    reader.fill({"tea": FIVE}, reading.since)
    assert found(reader) == SIX


def test_a_late_writer_does_not_overwrite_a_newer_row(caches: Caches) -> None:
    one, other = caches.replicas[0], caches.replicas[-1]
    since = now(one)
    other.change({"tea": SIX}, now(other))
    assert one.change({"tea": FIVE}, since)
    assert found(one) == SIX


def test_versions_are_compared_as_numbers(cache: Cache) -> None:
    cache.change({"tea": (9, 1)}, now(cache))
    cache.change({"tea": (10, 2)}, now(cache))
    cache.change({"tea": (9, 1)}, now(cache))
    assert found(cache) == (10, 2)


def test_an_entry_is_gone_when_it_expires(caches: Caches) -> None:
    cache = caches.replicas[0]
    cache.fill({"tea": FIVE}, now(cache))
    caches.move_on(caches.expiry - SECOND)
    assert found(cache) == FIVE
    caches.move_on(2 * SECOND)
    assert found(cache) is None


def test_a_change_makes_an_entry_live_from_then_on(caches: Caches) -> None:
    cache = caches.replicas[0]
    cache.fill({"tea": FIVE}, now(cache))
    caches.move_on(caches.expiry - SECOND)
    cache.change({"tea": FIVE}, now(cache))
    caches.move_on(2 * SECOND)
    assert found(cache) == FIVE


def test_a_reader_that_was_stopped_until_the_newer_row_was_forgotten_puts_nothing_in(caches: Caches) -> None:
    reader, writer = caches.replicas[0], caches.replicas[-1]
    caches.moments["reader"] = now(reader)
    writer.change({"tea": SIX}, now(writer))
    caches.move_on(caches.expiry + SECOND)
    reader.fill({"tea": FIVE}, caches.moments["reader"])
    assert found(reader) is None


def test_a_writer_that_was_stopped_until_the_newer_row_was_forgotten_puts_nothing_in(caches: Caches) -> None:
    stopped, writer = caches.replicas[0], caches.replicas[-1]
    caches.moments["stopped"] = now(stopped)
    writer.change({"tea": SIX}, now(writer))
    caches.move_on(caches.expiry + SECOND)
    stopped.change({"tea": FIVE}, caches.moments["stopped"])
    assert found(writer) is None
    writer.fill({"tea": SIX}, now(writer))
    assert found(stopped) == SIX


def test_a_change_that_comes_too_late_still_takes_away_what_is_older(caches: Caches) -> None:
    reader, writer = caches.replicas[0], caches.replicas[-1]
    reader.fill({"tea": FIVE}, now(reader))
    reading = reader.read(["mug", "tea"])
    assert writer.change({"tea": SIX}, UNKNOWN)
    assert found(reader) is None
    reader.fill({"tea": FIVE}, reading.since)
    assert found(reader) is None, "and it is not taken any more"
    reader.fill({"tea": SIX}, reading.since)
    assert found(reader) == SIX, "but the row that was changed is"


def test_a_change_that_comes_too_late_leaves_the_same_or_a_newer_row_alone(cache: Cache) -> None:
    cache.change({"tea": SIX, "mug": (9, 9)}, now(cache))
    cache.change({"tea": SIX, "mug": (8, 8)}, UNKNOWN)
    assert cache.read(["tea", "mug"]).rows == {"tea": SIX, "mug": (9, 9)}


def test_the_moment_that_now_tells_is_good_for_a_change(cache: Cache) -> None:
    cache.change({"tea": FIVE}, UNKNOWN)  # a cache in another process tells its time in its first answer
    cache.change({"tea": SIX}, cache.now())
    assert found(cache) == SIX


def test_a_closed_cache_finds_nothing_and_keeps_nothing(cache: Cache) -> None:
    since = now(cache)
    cache.change({"tea": FIVE}, since)
    cache.close()
    cache.fill({"tea": SIX}, since)
    cache.change({"tea": SIX}, since)
    assert cache.read(["tea"]).rows == {}
    cache.close()
