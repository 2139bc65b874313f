"""Every statement on the tables of the embedded broker.

A queue is a topic and a consumer group; an entry is one message in one queue. An entry can be taken when it is due and
nobody has a lease on it; taking it sets a lease and a new token, and whoever comes back with another token is told by
zero rows that the entry is no longer his. Three queues of each topic belong to no group, they are of half messages: an
entry of the first is due when its sender is to be asked; the second (`ask_again`) and third hold what is resolved.

A message that no group has subscribed to yet waits in the queue of NOBODY, which the first group takes over. A group
that comes later gets what becomes due after it came. What is handled is deleted at once.

Times are whole microseconds: `due` since 1970 by the clock port, leases on the machine's monotonic clock, which all
processes share and which nobody sets.
"""

import secrets
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from common.messaging.retries import LAST_ATTEMPT_LOST

NOBODY = ""
CHECK_BACK = "%check-back"
ASK_AGAIN = "%ask-again"
SETTLED = "%settled"

_SESSION_BITS = 40
_LEASE_IS_NONSENSE = 10
"""A lease that ends later than this many times its length is of before a reboot: the monotonic clock starts anew."""

_PAGES_GIVEN_BACK = 1000

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
_FORGET_HALF = "DELETE FROM entries WHERE id = ? AND queue IN (?, ?, ?)"
_FORGET_UNASKED_HALF = "DELETE FROM entries WHERE id = ? AND queue = ? AND attempt = 0"
_DONE = "DELETE FROM entries WHERE id = ? AND queue = ? AND token = ?"
_AGAIN = """
UPDATE entries SET due = ?, attempt = attempt - ?, leased_until = 0, token = 0
WHERE id = ? AND queue = ? AND token = ?"""
_RENEW = "UPDATE entries SET leased_until = ? WHERE id = ? AND queue = ? AND token = ?"
_BURY = """
INSERT INTO dead_letters (message_id, queue, key, body, attempts, error, dead_time)
SELECT id, queue, key, body, attempt, ?, ? FROM entries WHERE id = ? AND queue = ? AND token = ?"""
_REPLAY = """
INSERT OR REPLACE INTO entries (id, queue, key, body, due)
SELECT message_id, queue, key, body, ? FROM dead_letters WHERE id = ? AND queue = ?"""
_TAKE = """
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
    """The queues of a topic's half messages: those to ask about, to ask about once more, and kept in case."""

    half: int
    again: int
    settled: int

    def all(self) -> tuple[int, int, int]:
        return self.half, self.again, self.settled


@dataclass(frozen=True, slots=True)
class Taken:
    """An entry under lease."""

    id: int
    queue: int
    key: str
    body: bytes
    attempt: int
    token: int


@dataclass(frozen=True, slots=True)
class Lease:
    """How entries are taken: at a time by both clocks, and until when."""

    now: int
    tick: int
    length: int
    tries: int


class Store:
    """The statements on one connection, inside a transaction of the caller.

    Methods that take `rows` do many at once; each row's shape stands in its method.
    """

    def __init__(self, connection: sqlite3.Connection, session: int) -> None:
        self.connection = connection
        self.arrived: set[str] = set()  # topics that got something to deliver at once, for the caller to clear
        self._topics: dict[str, TopicQueues] = {}
        self._next_id = session << _SESSION_BITS

    def undo(self) -> None:
        """Roll the transaction back, if there still is one."""
        self._topics.clear()
        self.arrived.clear()
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")

    def topic_queues(self, topic: str) -> TopicQueues:
        """Find the topic's queues of half messages; a new topic gets them, and the queue of nobody."""
        queues = self._topics.get(topic)
        if queues is None:
            self.connection.execute(
                "INSERT OR IGNORE INTO queues (topic, consumers, delivers) SELECT ?, ?, 1"
                " WHERE NOT EXISTS (SELECT 1 FROM queues WHERE topic = ? AND delivers = 1)",
                (topic, NOBODY, topic),
            )
            queues = TopicQueues(*(self._queue(topic, name) for name in (CHECK_BACK, ASK_AGAIN, SETTLED)))
            self._topics[topic] = queues
        return queues

    def _queue(self, topic: str, consumers: str, *, delivers: bool = False) -> int:
        """Find the queue, or make it."""
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
        """Make groups known. Rows: topic, group, now. Returns their queues.

        The first group of a topic gets all that was ever published.
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
        """Rows: topic, key, body, due, whether it is due at once."""
        ids = self._new_ids(len(rows))
        for topic, _, _, _, at_once in rows:
            self.topic_queues(topic)
            if at_once:
                self.arrived.add(topic)
        self.connection.executemany(
            _PUBLISH,
            [(new, key, body, due, topic) for new, (topic, key, body, due, _) in zip(ids, rows, strict=True)],
        )

    def half(self, rows: Sequence[tuple[str, str, bytes, int]]) -> list[int]:
        """Rows: topic, key, body, when to ask its sender. Returns the ids."""
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
        # Numbers of a transaction that was undone are left out: they cost nothing.
        self._next_id += count
        return range(self._next_id - count, self._next_id)

    def commit(self, rows: Sequence[tuple[str, int, int]]) -> None:
        """Deliver half messages, waiting or rolled back. Rows: topic, id, now."""
        self._deliver([(now, topic, entry) for topic, entry, now in rows])
        self.connection.executemany(
            _FORGET_HALF, [(entry, *self.topic_queues(topic).all()) for topic, entry, _ in rows]
        )

    def commit_and_ask_again(self, rows: Sequence[tuple[str, int, int, int]]) -> None:
        """Deliver half messages and keep them, to ask once more. Rows: topic, id, now, when to ask."""
        self._deliver([(now, topic, entry) for topic, entry, now, _ in rows])
        self.roll_back_and_ask_again([(topic, entry, due) for topic, entry, _, due in rows])

    def _deliver(self, rows: Sequence[tuple[int, str, int]]) -> None:
        self.connection.executemany(
            _DELIVER_HALF, [(now, topic, entry, *self.topic_queues(topic).all()) for now, topic, entry in rows]
        )
        self.arrived.update(topic for _, topic, _ in rows)

    def roll_back(self, rows: Sequence[tuple[str, int, int]]) -> None:
        """Drop half messages. Rows: topic, id, now.

        One that was asked about is kept for a while: its sender, or another who was asked, may still say COMMIT.
        """
        found = [(self.topic_queues(topic), entry, now) for topic, entry, now in rows]
        self.connection.executemany(_FORGET_UNASKED_HALF, [(entry, queues.half) for queues, entry, _ in found])
        self.connection.executemany(_MOVE, [(queues.settled, now, entry, queues.half) for queues, entry, now in found])

    def roll_back_and_ask_again(self, rows: Sequence[tuple[str, int, int]]) -> None:
        """Drop half messages, but ask once more about them. Rows: topic, id, when to ask."""
        found = [(self.topic_queues(topic), entry, due) for topic, entry, due in rows]
        self.connection.executemany(_MOVE, [(queues.again, due, entry, queues.half) for queues, entry, due in found])

    def settle(self, rows: Sequence[tuple[str, int, int]]) -> None:
        """Ask no more about half messages that were asked about once more. Rows: topic, id, now."""
        found = [(self.topic_queues(topic), entry, now) for topic, entry, now in rows]
        self.connection.executemany(_MOVE, [(queues.settled, now, entry, queues.again) for queues, entry, now in found])

    def done(self, rows: Iterable[tuple[int, int, int]]) -> int:
        """Delete handled entries. Rows: id, queue, token. Returns how many of them still were the caller's."""
        return self.connection.executemany(_DONE, rows).rowcount

    def again(self, rows: Iterable[tuple[int, int, int, int, int]]) -> None:
        """Give entries back. Rows: due, tries to take back, id, queue, token."""
        self.connection.executemany(_AGAIN, rows)

    def renew(self, rows: Iterable[tuple[int, int, int, int]]) -> None:
        """Rows: leased_until, id, queue, token."""
        self.connection.executemany(_RENEW, rows)

    def bury(self, rows: Sequence[tuple[str, int, int, int, int]]) -> None:
        """Make dead letters of entries. Rows: error, now, id, queue, token."""
        self.connection.executemany(_BURY, rows)
        self.connection.executemany(_DONE, [(entry, queue, token) for _, _, entry, queue, token in rows])

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

    def take(self, queue: int, limit: int, lease: Lease) -> list[Taken]:
        """Take up to `limit` due entries under a new lease; those without a try left become dead letters."""
        longest = lease.tick + _LEASE_IS_NONSENSE * lease.length
        found = self.connection.execute(_TAKE, (queue, lease.now, lease.tick, longest, limit)).fetchall()
        spent = [row for row in found if lease.tries and row[3] >= lease.tries]
        if spent:
            self.bury([(LAST_ATTEMPT_LOST, lease.now, entry, queue, token) for entry, _, _, _, token in spent])
            return self.take(queue, limit, lease)
        token = secrets.randbits(62)
        until = lease.tick + lease.length
        self.connection.executemany(_LEASE, [(until, token, row[0], queue) for row in found])
        return [Taken(entry, queue, key, body, attempt + 1, token) for entry, key, body, attempt, _ in found]

    def tidy(self, rows: Iterable[tuple[int]]) -> None:
        """Delete half messages that were settled before a time, and give unused pages back. Rows: that time."""
        self.connection.executemany(
            "DELETE FROM entries WHERE queue IN (SELECT id FROM queues WHERE consumers IN (?, ?)) AND due <= ?",
            [(ASK_AGAIN, SETTLED, before) for (before,) in rows],
        )
        (unused,) = self.connection.execute("PRAGMA freelist_count").fetchone()
        for _ in range(min(unused, _PAGES_GIVEN_BACK)):
            self.connection.execute("PRAGMA incremental_vacuum(1)")  # Python's sqlite3 gives back one at a call
