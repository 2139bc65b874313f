"""A newer replica alters the tables while old ones serve: they go on, and can be started again."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from pathlib import Path
from threading import Event
from typing import Final

import pytest

import inventory_srv.adapters.models
import inventory_srv.bootstrap
import order_srv.adapters.models
import order_srv.bootstrap
from common.database import Database
from reback.order.v1 import order_pb2 as pb
from tests.component.order import resting_orders
from tests.support.databases import url_of
from tests.support.repeated_calls import until_done
from tests.support.services import Services, create_request, running_services
from tests.support.waiting import TIMEOUT_S, wait_until

CALLERS: Final = 4

NEWER: Final = """
import peewee

def up(migrator, db):
    for table in {tables}:
        migrator.migrate(migrator.add_column(table, "newer", peewee.CharField(20, null=True)))
        migrator.migrate(migrator.add_index(table, ("newer",)))
"""

pytestmark = pytest.mark.usefixtures("engine")


def migrate_further(folder: Path, name: str, migrations: Path, tables: list[str]) -> list[str]:
    """Do what a newer replica does when it starts: a column and an index more for each table."""
    newer = folder / f"newer-{name}"
    shutil.copytree(migrations, newer)
    (newer / "0099_newer.py").write_text(NEWER.format(tables=tables))
    with closing(Database(url_of(folder, name))) as database:
        return database.migrate(newer)


class Customers:
    """Callers who buy, and pay or cancel, one order after the other; what had no outcome they repeat."""

    def __init__(self, services: Services, sku: str, pool: ThreadPoolExecutor) -> None:
        self.done = 0
        self._ended = Event()
        self._services = services
        self._sku = sku
        self._working = [pool.submit(self._shop, services.new_user(), n % 2 == 0) for n in range(CALLERS)]

    def _shop(self, user: int, pays: bool) -> None:
        while not self._ended.is_set():
            order = until_done(partial(self._services.order.CreateOrder, create_request(user, {self._sku: 1})))
            if pays:
                until_done(partial(self._services.pay, order, payment_id=order.order_sn))
            else:
                until_done(partial(resting_orders.cancel, self._services, order))
            self.done += 1

    def wait_for_more(self) -> None:
        goal = self.done + 2 * CALLERS
        wait_until(lambda: self.done >= goal or any(each.done() for each in self._working), "orders go on")

    def end(self) -> None:
        self._ended.set()
        for each in self._working:
            each.result(TIMEOUT_S)


def test_old_replicas_go_on_with_newer_tables_and_start_on_them(tmp_path: Path) -> None:
    with running_services(tmp_path) as services, ThreadPoolExecutor(CALLERS) as pool:
        customers = Customers(services, services.new_sku(100_000), pool)
        try:
            customers.wait_for_more()
            for name, service, models in (
                ("inventory", inventory_srv.bootstrap, inventory_srv.adapters.models),
                ("order", order_srv.bootstrap, order_srv.adapters.models),
            ):
                tables = [each._meta.table_name for each in models.TABLES]
                applied = migrate_further(tmp_path, name, service.MIGRATIONS, tables)
                assert applied == ["0099_newer"]
                customers.wait_for_more()
        finally:
            customers.end()
        services.assert_books_balance()

    with running_services(tmp_path) as services:
        assert resting_orders.paid(services).state == pb.ORDER_STATE_PAID
        services.users.update(range(1, 2 * CALLERS))
        services.assert_books_balance()
