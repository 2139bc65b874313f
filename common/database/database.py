"""One place for connections and transactions.

A use case hands a piece of work to `Database.write`, which runs it as one transaction and repeats it whole when others
were in the way. Nothing outside this package opens a connection.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any, Final, TypeVar

import peewee
from playhouse.migrations import Runner
from playhouse.pool import MaxConnectionsExceeded

from common.clock import Clock, DatabaseClock, SystemClock
from common.database.drivers import open_driver
from common.database.errors import CommitUnknown, Contended, DatabaseUnavailable
from common.database.port import ENGINES_ERRORS, DatabaseUrl, Trouble, refuse_unmigrated
from common.database.retry import pause_before_first_repeat, retrying
from common.database.sql import Statement, insert_statement, update_statement, with_placeholder

T = TypeVar("T")

_BUSY_TIMEOUT_S: Final = 5.0
_TIMEOUT_S: Final = 15.0
_MOST_RUNS: Final = 3  # of work whose COMMIT got no answer
_ROWS_AT_ONCE: Final = 128
_CHANGED_AT_ONCE: Final = 32  # a server's time to plan an OR of keys grows with their square


class Database:
    """A pooled database with whole-transaction repeats.

    Args:
        url: One of `DATABASES`.
        connections: How many may be open at once; one more waits `busy_timeout` and is then `DatabaseUnavailable`.
        busy_timeout: Seconds that one try waits for what others hold (whole ones on a server, at least 1).
        timeout: Seconds for which a transaction is tried again while others are in its way.
    """

    def __init__(
        self,
        url: str | DatabaseUrl,
        *,
        connections: int = 80,
        busy_timeout: float = _BUSY_TIMEOUT_S,
        timeout: float = _TIMEOUT_S,
    ) -> None:
        self._retrying = retrying(timeout)
        self._driver = open_driver(url, connections, busy_timeout)
        self._own = threading.local()  # of each thread: the statements `at_commit` of its transaction
        self._clock: DatabaseClock | None = None
        self.engine: Any = self._driver.engine
        self.for_update = self._driver.for_update
        """What a SELECT written as text ends with to be `locking`."""

    def migrate(self, directory: Path) -> list[str]:
        """Apply the migrations that are not applied yet, in order; safe when several replicas start at once.

        Returns:
            The names of those that this call applied.

        Raises:
            UnusableEngine: The file, or the server's configuration, would break what the service promises.
            DatabaseUnavailable: The database can't be reached.
        """
        self._driver.prepare(may_be_new=True)
        with self.reading():
            applied = self._driver.migrate(Runner(self.engine, str(directory)))
        if self._clock is not None:
            self._clock.start()
        return applied

    def check(self, directory: Path) -> None:
        """For a program that works on a service's database: it has to be there, with these migrations.

        Raises:
            UnusableEngine: It is not, or can't be used as it is. Nothing was created.
            DatabaseUnavailable: The database can't be reached.
        """
        self._driver.prepare(may_be_new=False)
        with self.reading():
            refuse_unmigrated(Runner(self.engine, str(directory)), self._driver.place)

    def clock(self) -> Clock:
        """The clock that all users of this database share: its server's, from `migrate` on; else the machine's."""
        if not self._driver.keeps_time:
            return SystemClock()
        if self._clock is None:
            self._clock = DatabaseClock(self.time)
        return self._clock

    def time(self) -> datetime:
        """The time where the database is, aware, in UTC.

        Raises:
            DatabaseUnavailable: It can't be asked.
        """
        with self.reading():
            return self._driver.time()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Hold a connection for a few reads, each of which sees what is committed by then."""
        if not self.engine.is_closed():  # within a transaction of this thread
            yield
            return
        with self._translated():
            self.engine.connect()
            try:
                yield
            finally:
                self.engine.close()

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Hold a connection for reads that all see one moment."""
        self._assert_no_transaction()
        with self.reading():
            self._driver.begin_snapshot()
            with self.engine.manual_commit():
                try:
                    yield
                finally:
                    self._driver.roll_back()

    def write(self, work: Callable[[], T], *, repeat_on: type[Exception] | tuple[type[Exception], ...] = ()) -> T:
        """Run `work` in one transaction that holds what it reads by `locking`, and commit.

        The whole of it is repeated, after random pauses and not for ever, when others were in the way, or when the
        connection was lost before COMMIT was sent. So it must have no effect outside the database. Transactions do not
        nest.

        Args:
            work: Reads and writes; what it raises rolls the transaction back.
            repeat_on: Further errors of `work` to repeat it for, e.g. a duplicate key that a re-read explains.

        Returns:
            What `work` returned.

        Raises:
            CommitUnknown: The connection was lost at COMMIT, or under statements that go with it.
            DatabaseUnavailable: Nothing was written.
        """
        try:
            return self._attempt(work, repeat_on)  # nearly always enough, and tenacity costs 36 µs
        except Contended:
            pause_before_first_repeat()
        try:
            result: T = self._retrying(self._attempt, work, repeat_on)
        except Contended as contended:
            cause = contended.__cause__
            if isinstance(cause, repeat_on):
                raise cause from None
            raise DatabaseUnavailable("the database was busy for too long") from cause
        return result

    def write_again(self, work: Callable[[], T], *, repeat_on: type[Exception] | tuple[type[Exception], ...] = ()) -> T:
        """`write` for work that finds out by the rows that it holds whether it was done before.

        So it is run again where COMMIT got no answer.

        Raises:
            CommitUnknown: Nobody knows what became of it.
            DatabaseUnavailable: Nothing was written.
        """
        unknown: CommitUnknown | None = None
        for _ in range(_MOST_RUNS):
            try:
                return self.write(work, repeat_on=repeat_on)
            except CommitUnknown as error:
                unknown = error
            except Exception:
                if unknown is None:
                    raise
                break  # what it says of this run says nothing of the one before
        assert unknown is not None
        raise unknown

    def locking(self, query: Any) -> Any:  # peewee's queries share no useful type
        """Make a SELECT of a writing transaction read the latest rows and hold them until the end."""
        return self._driver.locking(query)

    def select(self, query: Any) -> list[Any]:
        """The rows of a SELECT that is made of models, which are bound to no database; within `write` or `reading`."""
        return list(query.execute(self.engine))

    def run(self, query: Any) -> int:
        """Run an UPDATE, DELETE or INSERT that is made of models, within `write`; how many rows the first two found."""
        found: int = query.execute(self.engine)
        return found

    def execute(self, statement: str, values: Sequence[Any] = ()) -> Any:
        """Run one statement within `write` or `reading`: quick, where a query builder takes longer than the engine.

        Args:
            statement: SQL that every engine knows, with `?` for each value.
            values: Each as the engine takes it.

        Returns:
            The engine's cursor. Its `rowcount` counts the rows that an UPDATE found, changed or not.
        """
        return self.engine.execute_sql(with_placeholder(statement, self.engine.param), values)

    def execute_many(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> int:
        """Run a statement once for each row, within `write`; the quick way for many rows.

        Args:
            statement: SQL that every engine knows, with `?` for each value.
            rows: The values, each as the engine takes it.

        Returns:
            How many rows were found in all.
        """
        with peewee.__exception_wrapper__:  # type: ignore[attr-defined]
            cursor = self.engine.cursor()
            cursor.executemany(with_placeholder(statement, self.engine.param), rows)
            touched: int = cursor.rowcount
            return touched

    def run_all(self, statements: Sequence[Statement]) -> list[int]:
        """Run statements one after the other within `write`, all of them in one trip where the engine allows that.

        Returns:
            How many rows each inserted or found.
        """
        if not statements:
            return []
        value = self.engine.param
        return self._driver.run_all([(with_placeholder(text, value), values) for text, values in statements])

    def at_commit(self, statements: Sequence[Statement], guarded: Sequence[tuple[Statement, int]] = ()) -> None:
        """Have statements run at the end of this `write`, in one trip with its COMMIT where the engine allows that.

        They run when `work` has returned, in the order in which they were named. What goes wrong with them is as if
        `work` had raised it (`Overtaken`: a guarded one found other rows than it has to), but for a connection that is
        lost under them: nobody knows then what became of COMMIT.

        Args:
            statements: Run first.
            guarded: Run after them, each with how many rows it has to find.
        """
        if getattr(self._own, "at_commit", None) is None:
            raise AssertionError("there is no transaction to go with")
        value = self.engine.param
        self._own.at_commit += (
            *((with_placeholder(text, value), values, None) for text, values in statements),
            *((with_placeholder(text, value), values, finds) for (text, values), finds in guarded),
        )

    def insert_many(self, into: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows within `write`; see `inserting`."""
        self.run_all(list(self.inserting(into, rows)))

    def inserting(self, into: str, rows: Sequence[tuple[Any, ...]]) -> Iterator[Statement]:
        """Statements that insert rows, many in each.

        Row by row would let every other thread in between, and a busy process would crawl.

        Args:
            into: The table and its columns: `account (name, balance)`.
            rows: The values, each as the engine takes it.
        """
        done = 0
        while left := min(len(rows) - done, _ROWS_AT_ONCE):
            # Powers of two where few statements are kept prepared: SQLite parses for longer than it writes.
            count = 1 << left.bit_length() - 1 if self._driver.prepares else left
            some = rows[done : done + count]
            yield insert_statement(into, count, len(some[0])), list(chain.from_iterable(some))
            done += count

    def updating(
        self, what: str, values: Sequence[Any], key: str, keys: Sequence[tuple[Any, ...]]
    ) -> Iterator[tuple[Statement, int]]:
        """Statements that change many rows alike, each with how many rows it ought to find.

        Args:
            what: The table and its new values: `account SET balance = balance - ?`.
            values: Of `what`.
            key: The condition that identifies one row: `name = ? AND version = ?`.
            keys: The values of `key`, a row each.
        """
        at_once = 1 if self._driver.prepares else _CHANGED_AT_ONCE
        for done in range(0, len(keys), at_once):
            some = keys[done : done + at_once]
            yield (update_statement(what, key, len(some)), [*values, *chain.from_iterable(some)]), len(some)

    def close(self) -> None:
        """Close every connection, also those in use."""
        if self._clock is not None:
            self._clock.close()
        self.engine.close_all()

    def _attempt(self, work: Callable[[], T], repeat_on: type[Exception] | tuple[type[Exception], ...]) -> T:
        self._assert_no_transaction()
        with self._driver.turn(), self.reading():
            try:
                return self._in_transaction(work)
            except repeat_on as error:
                raise Contended from error
            except ENGINES_ERRORS as error:
                if self._driver.trouble(error) in (Trouble.CONTENDED, Trouble.LOST):
                    raise Contended from error
                raise

    def _in_transaction(self, work: Callable[[], T]) -> T:
        self._driver.begin()
        self._own.at_commit = []
        with self.engine.manual_commit():
            try:
                result = self._guarded(work)
                self._guarded(self._commit)
            except BaseException:
                self._driver.roll_back()
                raise
            finally:
                self._own.at_commit = None
            return result

    def _guarded(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except peewee.DatabaseError as error:
            if self._driver.trouble(error) is Trouble.RULE_BROKEN:
                raise peewee.IntegrityError(*error.args) from error
            raise

    def _commit(self) -> None:
        statements, self._own.at_commit = self._own.at_commit, []
        self._driver.commit(statements)

    def _assert_no_transaction(self) -> None:
        if not self.engine.is_closed() and self.engine.in_transaction():
            raise AssertionError("transactions do not nest")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Let callers see one kind of error for a database that can't serve."""
        try:
            yield
        except MaxConnectionsExceeded as error:
            raise DatabaseUnavailable("every database connection is in use") from error
        except ENGINES_ERRORS as error:
            if self._driver.trouble(error) in (None, Trouble.RULE_BROKEN):
                raise
            raise DatabaseUnavailable(self._driver.explain(error)) from error
