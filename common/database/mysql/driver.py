"""MySQL 8 and MariaDB 10.6 or later, by PyMySQL through peewee.

Transactions that write are READ COMMITTED, those that read one moment REPEATABLE READ, single reads autocommit. Text is
compared character by character, spaces at the end included. A connection is replaced between transactions, never
inside one.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import UTC, datetime
from itertools import chain
from math import ceil
from typing import Any, Final

import peewee
import pymysql
from playhouse.migrations import Runner

from common.database.errors import CommitUnknown, Overtaken
from common.database.mysql.errors import error_number, explanation, is_answer, trouble_of
from common.database.mysql.migrations import migrating, resumable
from common.database.mysql.pool import MysqlPool
from common.database.mysql.server_settings import check_settings
from common.database.mysql.url import MysqlUrl
from common.database.port import ENGINES_ERRORS, Driver, FinalStatement, Trouble, refuse_foreign

_SNAPSHOT: Final = (
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
)
_SET: Final = "SET @rows = "
# Fails unless the statement before it found so many rows. Outside of procedures only a value can make a statement fail;
# a sum out of range does so in every mode. (DO would ignore it.)
_HAS_FOUND: Final = _SET + "9223372036854775807 + (ROW_COUNT() <> {})"
_OUT_OF_RANGE: Final = 1690
_GONE: Final = (*ENGINES_ERRORS, pymysql.Error)


class MysqlDriver(Driver):
    """A database on a server; it must exist already.

    Args:
        url: Where it is.
        connections: How many may be open at once.
        busy_timeout: Seconds to wait for one of them, and (rounded up) for rows that others hold.
    """

    for_update = " FOR UPDATE"
    prepares = False
    keeps_time = True

    def __init__(self, url: MysqlUrl, connections: int, busy_timeout: float) -> None:
        self._url = url
        self.place = f"{url.name} at {url.place}"
        self.engine: Any = MysqlPool(
            url.name,
            max_connections=connections,
            timeout=busy_timeout,
            autoconnect=False,
            url=url,
            lock_wait=max(1, ceil(busy_timeout)),
        )

    def turn(self) -> AbstractContextManager[None]:
        return nullcontext()  # rows are held one by one

    def begin(self) -> None:
        self.engine.begin_with_next()

    def begin_snapshot(self) -> None:
        for statement in _SNAPSHOT:
            self.engine.execute_sql(statement)

    def run_all(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> list[int]:
        text = ";".join(statement for statement, _ in statements)
        cursor = self.engine.execute_sql(text, list(chain.from_iterable(values for _, values in statements)))
        found: list[int] = [cursor.rowcount]
        with peewee.__exception_wrapper__:  # type: ignore[attr-defined]  # the server stops at the first that fails
            while cursor.nextset():
                found.append(cursor.rowcount)
        return found

    def commit(self, statements: Sequence[FinalStatement] = ()) -> None:
        if not statements:
            self.commit_alone()
            return
        # One packet: the server stops at the first statement that fails, and then COMMIT is none of those it runs.
        texts: list[str] = []
        to_find: dict[int, int] = {}
        for text, _, finds in statements:
            if finds is not None:
                to_find[len(texts)] = finds
            texts += [text] if finds is None else [text, _HAS_FOUND.format(finds)]
        values = list(chain.from_iterable(values for _, values, _ in statements))
        found: list[int] = []
        try:
            cursor = self.engine.execute_sql(";".join([*texts, "COMMIT"]), values)
            with peewee.__exception_wrapper__:  # type: ignore[attr-defined]
                for _ in texts:
                    found.append(cursor.rowcount)
                    if not cursor.nextset():
                        raise CommitUnknown("the server answered to fewer statements than it was sent")
        except ENGINES_ERRORS as error:
            at_commit = len(found) == len(texts)
            if at_commit or not is_answer(error):
                self.raise_if_unknown(error)
            if not at_commit and error_number(error) == _OUT_OF_RANGE and texts[len(found)].startswith(_SET):
                raise Overtaken from error
            raise
        if any(found[place] != rows for place, rows in to_find.items()):
            raise AssertionError(f"committed, though {texts} found {found} rows")

    def roll_back(self) -> None:
        with suppress(*_GONE):  # the server rolls back whatever is open on a connection that is gone
            if self.engine.connection().open:
                self.engine.rollback()

    def locking(self, query: Any) -> Any:
        return query.for_update()

    def trouble(self, error: Exception) -> Trouble | None:
        return trouble_of(error)

    def explain(self, error: Exception) -> str:
        return explanation(error, self._url)

    def migrate(self, runner: Runner) -> list[str]:
        applied: list[str] = []
        check_settings(self.engine, self._url)
        with migrating(self.engine, self._url.name):
            refuse_foreign(runner, self.place)
            for migration in runner.status():
                if migration.path is not None and not migration.applied:
                    with resumable(self.engine, migration.name):
                        applied += runner.up(migration.name)
        return applied

    def time(self) -> datetime:
        (now,) = self.engine.execute_sql("SELECT UTC_TIMESTAMP(6)").fetchone()
        assert isinstance(now, datetime)
        return now.replace(tzinfo=UTC)
