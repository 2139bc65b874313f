"""Every statement on the tables of the embedded broker.

A queue belongs to a topic and a consumer group; an entry is one message in one queue. An entry can be leased when it
is due and nobody has a lease on it. Leasing sets a new token; a statement with an older token changes zero rows, since
the entry has passed to another lease. Handled entries are deleted at once.

Three queues of each topic belong to no group but hold half messages. CHECK_BACK: those without a resolution, due at
their next check-back. RECHECK: resolved ones that get one check-back more. SETTLED: ones that were rolled back, kept in
case a COMMIT comes late.

A message published before any group subscribed waits in the queue of NOBODY, which the first group takes over. A group
that subscribes later gets what becomes due from then on.

Times are whole microseconds: `due` since 1970 by the clock port, leases on the machine's monotonic clock, which all
processes share and nobody sets.
"""

import secrets
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from common.messaging.retries import LAST_ATTEMPT_LOST

NOBODY = ""
CHECK_BACK = "%check-back"
RECHECK = "%recheck"
SETTLED = "%settled"

_SESSION_BITS = 40
_IMPOSSIBLE_LEASE = 10
"""A lease that ends more than so many lengths from now is from before a reboot: the monotonic clock restarted."""

_PAGES_RELEASED = 1000

_PUBLISH = """
INSERT INTO entries (id, queue, key, body, due)
SELECT ?, id, ?, ?, ? FROM queues WHERE topic = ? AND delivers = 1"""
_HALF = "INSERT INTO entries (id, queue, key, body, due) VALUES (?, ?, ?, ?, ?)"
_DELIVER_HALF = """
INSERT OR IGNORE INTO entries (id, queue, key, body, due)
SELECT half.id, queues.id, half.key, half.body, ? FROM entries AS half JOIN queues ON queues.topic = ?
WHERE half.id = ? AND half.queue IN (?, ?, ?) AND queues.delivers = 1"""
_MOVE = """
UPDATE entries SET queue = ?, due = ?, leased_until = 0, token = 0 WHERE id = ? AND queue = ?"""
_DELETE_HALF = "DELETE FROM entries WHERE id = ? AND queue IN (?, ?, ?)"
_DELETE_UNCHECKED_HALF = "DELETE FROM entries WHERE id = ? AND queue = ? AND attempt = 0"
_ACKNOWLEDGE = "DELETE FROM entries WHERE id = ? AND queue = ? AND token = ?"
_RELEASE = """
UPDATE entries SET due = ?, attempt = attempt - ?, leased_until = 0, token = 0
WHERE id = ? AND queue = ? AND token = ?"""
_RENEW = "UPDATE entries SET leased_until = ? WHERE id = ? AND queue = ? AND token = ?"
_DEAD_LETTER = """
INSERT INTO dead_letters (message_id, queue, key, body, attempts, error, dead_time)
SELECT id, queue, key, body, attempt, ?, ? FROM entries WHERE id = ? AND queue = ? AND token = ?"""
_REPLAY = """
INSERT OR REPLACE INTO entries (id, queue, key, body, due)
SELECT message_id, queue, key, body, ? FROM dead_letters WHERE id = ? AND queue = ?"""
_FIND_DUE = """
SELECT id, key, body, attempt, token FROM entries
WHERE queue = ? AND due <= ? AND (leased_until <= ? OR leased_until > ?) ORDER BY due LIMIT ?"""
_LEASE = "UPDATE entries SET attempt = attempt + 1, leased_until = ?, token = ? WHERE id = ? AND queue = ?"
_DEAD_LETTERS = """
SELECT dead_letters.id, key, body, attempts, error, dead_time FROM queues JOIN dead_letters ON queue = queues.id
WHERE topic = ? AND consumers = ? ORDER BY dead_letters.id LIMIT ?"""
_JOIN_GROUP = """
INSERT OR IGNORE INTO entries (id, queue, key, body, due)
SELECT entries.id, ?, key, body, due FROM queues JOIN entries ON entries.queue = queues.id
WHERE topic = ? AND delivers = 1 AND due > ? AND attempt = 0"""


@dataclass(frozen=True, slots=True)
class TopicQueues:
    """The queues of a topic's half messages; see the module."""

    half: int
    recheck: int
    settled: int

    def all(self) -> tuple[int, int, int]:
        return self.half, self.recheck, self.settled


@dataclass(frozen=True, slots=True)
class LeasedEntry:
    """An entry under lease."""

    id: int
    queue: int
    key: str
    body: bytes
    attempt: int
    token: int


@dataclass(frozen=True, slots=True)
class LeaseTerms:
    """How entries are leased.

    Attributes:
        now: By the clock port: entries due by then are leased.
        monotonic_now: By the monotonic clock, on which leases run.
        length: Of the lease.
        tries: Entries with as many attempts become dead letters instead. 0: none.
    """

    now: int
    monotonic_now: int
    length: int
    tries: int


class Store:
    """The statements on one connection, inside the caller's transaction.

    Methods that take `rows` do many at once; each row's shape stands in its method.
    """

    def __init__(self, connection: sqlite3.Connection, session: int) -> None:
        self.connection = connection
        self.arrived: set[str] = set()  # topics with something to deliver at once; the caller clears it
        self._topics: dict[str, TopicQueues] = {}
        self._next_id = session << _SESSION_BITS

    def abort(self) -> None:
        """Roll the transaction back, if one is open."""
        self._topics.clear()
        self.arrived.clear()
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    def topic_queues(self, topic: str) -> TopicQueues:
        """Find the topic's queues of half messages. A new topic gets them, and the queue of NOBODY."""
        queues = self._topics.get(topic)
        if queues is None:
            self.connection.execute(
                "INSERT OR IGNORE INTO queues (topic, consumers, delivers) SELECT ?, ?, 1"
                " WHERE NOT EXISTS (SELECT 1 FROM queues WHERE topic = ? AND delivers = 1)",
                (topic, NOBODY, topic),
            )
            queues = TopicQueues(*(self._queue(topic, name) for name in (CHECK_BACK, RECHECK, SETTLED)))
            self._topics[topic] = queues
        return queues

    def _queue(self, topic: str, consumers: str, *, delivers: bool = False) -> int:
        """Find the queue, or create it."""
        self.connection.execute(
            "INSERT OR IGNORE INTO queues (topic, consumers, delivers) VALUES (?, ?, ?)", (topic, consumers, delivers)
        )
        queue = self._find_queue(topic, consumers)
        assert queue is not None
        return queue

    def _find_queue(self, topic: str, consumers: str) -> int | None:
        row = self.connection.execute(
            "SELECT id FROM queues WHERE topic = ? AND consumers = ?", (topic, consumers)
        ).fetchone()
        return row and int(row[0])

    def join(self, rows: Sequence[tuple[str, str, int]]) -> list[int]:
        """Let groups join a topic. Rows: topic, group, now. Returns their queues.

        The first group of a topic gets all that was published before.
        """
        return [self._join(topic, group, now) for topic, group, now in rows]

    def _join(self, topic: str, group: str, now: int) -> int:
        self.topic_queues(topic)
        queue = self._find_queue(topic, group)
        if queue is None:
            self.connection.execute(
                "UPDATE queues SET consumers = ? WHERE topic = ? AND consumers = ?", (group, topic, NOBODY)
            )
            queue = self._find_queue(topic, group)
        if queue is None:
            queue = self._queue(topic, group, delivers=True)
            self.connection.execute(_JOIN_GROUP, (queue, topic, now))
        return queue

    def publish(self, rows: Sequence[tuple[str, str, bytes, int, bool]]) -> None:
        """Publish messages. Rows: topic, key, body, due, whether that is now."""
        ids = self._new_ids(len(rows))
        for topic, _, _, _, at_once in rows:
            self.topic_queues(topic)
            if at_once:
                self.arrived.add(topic)
        self.connection.executemany(
            _PUBLISH,
            [(new, key, body, due, topic) for new, (topic, key, body, due, _) in zip(ids, rows, strict=True)],
        )

    def add_half(self, rows: Sequence[tuple[str, str, bytes, int]]) -> list[int]:
        """Store half messages. Rows: topic, key, body, first check-back. Returns the ids."""
        ids = self._new_ids(len(rows))
        self.connection.executemany(
            _HALF,
            [
                (new, self.topic_queues(topic).half, key, body, due)
                for new, (topic, key, body, due) in zip(ids, rows, strict=True)
            ],
        )
        return list(ids)

    def _new_ids(self, count: int) -> range:
        # Ids of a transaction that was aborted stay unused: they cost nothing.
        self._next_id += count
        return range(self._next_id - count, self._next_id)

    def commit(self, rows: Sequence[tuple[str, int, int]]) -> None:
        """Deliver half messages, unresolved or rolled back. Rows: topic, id, now."""
        self._deliver([(now, topic, entry) for topic, entry, now in rows])
        self.connection.executemany(
            _DELETE_HALF, [(entry, *self.topic_queues(topic).all()) for topic, entry, _ in rows]
        )

    def commit_and_recheck(self, rows: Sequence[tuple[str, int, int, int]]) -> None:
        """Deliver half messages, and keep them for one check-back more. Rows: topic, id, now, its time."""
        self._deliver([(now, topic, entry) for topic, entry, now, _ in rows])
        self.roll_back_and_recheck([(topic, entry, due) for topic, entry, _, due in rows])

    def _deliver(self, rows: Sequence[tuple[int, str, int]]) -> None:
        self.connection.executemany(
            _DELIVER_HALF, [(now, topic, entry, *self.topic_queues(topic).all()) for now, topic, entry in rows]
        )
        self.arrived.update(topic for _, topic, _ in rows)

    def roll_back(self, rows: Sequence[tuple[str, int, int]]) -> None:
        """Drop half messages. Rows: topic, id, now.

        Those that had a check-back are kept for a while: another answer, a COMMIT, may still be on its way.
        """
        found = [(self.topic_queues(topic), entry, now) for topic, entry, now in rows]
        self.connection.executemany(_DELETE_UNCHECKED_HALF, [(entry, queues.half) for queues, entry, _ in found])
        self.connection.executemany(_MOVE, [(queues.settled, now, entry, queues.half) for queues, entry, now in found])

    def roll_back_and_recheck(self, rows: Sequence[tuple[str, int, int]]) -> None:
        """Drop half messages, but keep them for one check-back more. Rows: topic, id, its time."""
        found = [(self.topic_queues(topic), entry, due) for topic, entry, due in rows]
        self.connection.executemany(_MOVE, [(queues.recheck, due, entry, queues.half) for queues, entry, due in found])

    def settle(self, rows: Sequence[tuple[str, int, int]]) -> None:
        """End the rechecking of half messages. Rows: topic, id, now."""
        found = [(self.topic_queues(topic), entry, now) for topic, entry, now in rows]
        self.connection.executemany(_MOVE, [(each.settled, now, entry, each.recheck) for each, entry, now in found])

    def acknowledge(self, rows: Iterable[tuple[int, int, int]]) -> int:
        """Delete handled entries. Rows: id, queue, token. Returns how many were still under that lease."""
        return self.connection.executemany(_ACKNOWLEDGE, rows).rowcount

    def release(self, rows: Iterable[tuple[int, int, int, int, int]]) -> None:
        """End leases, for a later attempt. Rows: due, attempts that do not count, id, queue, token."""
        self.connection.executemany(_RELEASE, rows)

    def renew(self, rows: Iterable[tuple[int, int, int, int]]) -> None:
        """Extend leases. Rows: leased_until, id, queue, token."""
        self.connection.executemany(_RENEW, rows)

    def make_dead_letters(self, rows: Sequence[tuple[str, int, int, int, int]]) -> None:
        """Turn entries into dead letters. Rows: error, now, id, queue, token."""
        self.connection.executemany(_DEAD_LETTER, rows)
        self.connection.executemany(_ACKNOWLEDGE, [(entry, queue, token) for _, _, entry, queue, token in rows])

    def dead_letters(self, rows: Iterable[tuple[str, str, int]]) -> list[list[tuple[int, str, bytes, int, str, int]]]:
        """Rows: topic, group, limit. Returns id, key, body, attempts, error and time of each, oldest first."""
        return [self.connection.execute(_DEAD_LETTERS, row).fetchall() for row in rows]

    def replay(self, rows: Iterable[tuple[int, str, str, int]]) -> list[bool]:
        """Deliver dead letters again. Rows: now, topic, group, dead letter. Returns which were there."""
        return [self._replay(*row) for row in rows]

    def _replay(self, now: int, topic: str, group: str, letter: int) -> bool:
        queue = self._find_queue(topic, group)
        self.connection.execute(_REPLAY, (now, letter, queue))
        deleted = self.connection.execute("DELETE FROM dead_letters WHERE id = ? AND queue = ?", (letter, queue))
        self.arrived.add(topic)
        return deleted.rowcount > 0

    def lease(self, queue: int, limit: int, terms: LeaseTerms) -> list[LeasedEntry]:
        """Lease up to `limit` due entries; those without an attempt left become dead letters."""
        longest = terms.monotonic_now + _IMPOSSIBLE_LEASE * terms.length
        found = self.connection.execute(_FIND_DUE, (queue, terms.now, terms.monotonic_now, longest, limit)).fetchall()
        spent = [row for row in found if terms.tries and row[3] >= terms.tries]
        if spent:
            self.make_dead_letters([(LAST_ATTEMPT_LOST, terms.now, row[0], queue, row[4]) for row in spent])
            return self.lease(queue, limit, terms)
        token = secrets.randbits(62)
        until = terms.monotonic_now + terms.length
        self.connection.executemany(_LEASE, [(until, token, row[0], queue) for row in found])
        return [LeasedEntry(entry, queue, key, body, attempt + 1, token) for entry, key, body, attempt, _ in found]

    def tidy(self, rows: Iterable[tuple[int]]) -> None:
        """Delete half messages settled before a time, and return unused pages to the system. Rows: that time."""
        self.connection.executemany(
            "DELETE FROM entries WHERE queue IN (SELECT id FROM queues WHERE consumers IN (?, ?)) AND due <= ?",
            [(RECHECK, SETTLED, before) for (before,) in rows],
        )
        (unused,) = self.connection.execute("PRAGMA freelist_count").fetchone()
        for _ in range(min(unused, _PAGES_RELEASED)):
            self.connection.execute("PRAGMA incremental_vacuum(1)")  # Python's sqlite3 returns one page a call
