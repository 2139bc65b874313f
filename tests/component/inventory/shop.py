"""A stock writer on a database of its own, without gRPC; ways to hold it at a point; and what the books say."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from common.clock import Clock, SystemClock
from common.crash_points import CrashHook, no_crash
from common.database import Database
from common.deadline import Deadline
from common.errors import DomainError
from common.lock.local import LocalLock
from common.lock.port import Lock
from inventory_srv.bootstrap import MIGRATIONS
from inventory_srv.crash_points import CrashPoint
from inventory_srv.domain.changes import Change, SetStock
from inventory_srv.domain.records import StockDifference
from inventory_srv.use_cases.audit import Audit
from inventory_srv.use_cases.queries import Queries
from inventory_srv.use_cases.stock_writer import StockWriter
from tests.support.databases import url_of
from tests.support.stock_changes import sell
from tests.support.waiting import TIMEOUT_S

FOR_LONG: Final = timedelta(minutes=10)
"""As long as a lock is kept that nobody wants."""


def soon() -> Deadline:
    """A deadline that only a failing test meets."""
    return Deadline.after(TIMEOUT_S)


class Hold:
    """Counts the crash points that are passed, and holds whoever reaches one of them, from `arm` until `let_go`."""

    def __init__(self) -> None:
        self.times: Counter[str] = Counter()
        self._point: CrashPoint | None = None
        self._here = threading.Event()
        self._gone = threading.Event()

    def arm(self, point: CrashPoint) -> None:
        self._here.clear()
        self._gone.clear()
        self._point = point

    def wait(self) -> None:
        """Wait until somebody is held."""
        assert self._here.wait(TIMEOUT_S), f"nobody came to {self._point}"

    def let_go(self) -> None:
        self._point = None
        self._gone.set()

    def crash_hook(self, point: str) -> None:
        self.times[point] += 1
        if point == self._point:
            self._here.set()
            assert self._gone.wait(TIMEOUT_S), f"held at {point} for ever"


class Shop:
    """A writer, what can be asked, and the database they share."""

    def __init__(self, database: Database, writer: StockWriter) -> None:
        self.database = database
        self.writer = writer
        self.queries = Queries(database)
        self.audit = Audit(database)

    def stock_up(self, **available: int) -> None:
        for sku, units in available.items():
            self.carry_out(SetStock(f"stock up {sku}"[:64], sku, units, ""))

    def carry_out(self, change: Change) -> Any:
        return self.writer.carry_out(change, soon())

    def refusal_of(self, order_sn: str, *lines: tuple[str, int]) -> DomainError:
        """Try to sell, and be refused."""
        with pytest.raises(DomainError) as raised:
            self.carry_out(sell(order_sn, *lines))
        return raised.value

    def put(self, changes: Sequence[Change]) -> list[Any]:
        """Queue changes, and return their futures."""
        return [self.writer.put(change, soon()) for change in changes]

    def outcomes(self, changes: Sequence[Change]) -> list[Any]:
        """Queue changes all at once; the answer, or the error, of each."""
        return [outcome_of(future) for future in self.put(changes)]

    def units(self, sku: str) -> tuple[int, int]:
        """What is available and what is sold."""
        stock = self.queries.get_stock(sku, soon())
        return stock.available, stock.sold

    def differences(self) -> list[StockDifference]:
        return self.audit.page(1000, "").differences

    def table(self, name: str, order_by: str = "1, 2") -> list[tuple[Any, ...]]:
        with self.database.reading():
            rows: list[tuple[Any, ...]] = self.database.engine.execute_sql(
                f"SELECT * FROM {name} ORDER BY {order_by}"
            ).fetchall()
            return rows


def outcome_of(future: Any) -> Any:
    """What a future came to: its answer, or the error."""
    error = future.exception(TIMEOUT_S)
    return future.result() if error is None else error


@contextmanager
def open_shop(
    file: Path,
    *,
    lock: Lock | None = None,
    clock: Clock | None = None,
    crash_hook: CrashHook = no_crash,
    make_database: Callable[[str], Database] = Database,
    **writer_settings: Any,
) -> Iterator[Shop]:
    """A shop on this file, or on the server's database of its name; several may be open on one, as replicas are."""
    database = make_database(url_of(file.parent, file.stem))
    database.migrate(MIGRATIONS)
    writer = StockWriter(
        database, lock or LocalLock(), clock or SystemClock(), crash_hook=crash_hook, **writer_settings
    )
    writer.start()
    try:
        yield Shop(database, writer)
    finally:
        writer.close()
        database.close()
