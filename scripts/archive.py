"""Move what is long over out of inventory's books: old movements, sales that are over, request ids."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import Annotated, Final, cast

import typer

from common.database import Database, DatabaseUnavailable
from common.database.drivers import DATABASES
from common.database.port import DatabaseUrl
from common.errors import UnusableEngine
from common.process.settings import load_settings, variable_of
from inventory_srv.adapters.models import StockRow
from inventory_srv.bootstrap import MIGRATIONS
from inventory_srv.settings import InventorySettings
from inventory_srv.use_cases.archive import Archive
from order_srv.adapters.models import OrderRow
from order_srv.bootstrap import MIGRATIONS as ORDER_MIGRATIONS
from order_srv.domain.order_state import State
from order_srv.settings import OrderSettings
from scripts.lib import command_line
from scripts.lib.command_line import WrongUsage

_SHORTEST: Final = timedelta(days=7)
"""Longer than RocketMQ keeps any message (3 days), or delays one."""


def archive(
    to: Annotated[str, typer.Option(help="The archive: sqlite:////path/to/file.db, mysql://user:password@host/name.")],
    older_than: Annotated[int, typer.Option(min=_SHORTEST.days, help="Days that rows stay in the books.")] = 90,
) -> None:
    """Go through the books once, a page at a time, while the services run. It may be stopped and started again."""
    inventory, order, target = load_settings(InventorySettings), load_settings(OrderSettings), _read(to)
    age = timedelta(days=older_than)
    if age < order.pay_within + _SHORTEST:
        raise WrongUsage(
            f"--older-than {older_than}: must be at least {_SHORTEST.days} days more than ORDER_PAY_WITHIN,"
            f" which is {order.pay_within.total_seconds():.0f} s"
        )
    try:
        _archive(inventory, order, target, age)
    except DatabaseUnavailable as error:
        print(f"{error}; what was moved so far is in the archive", file=sys.stderr)
        raise typer.Exit(1) from error


def _read(to: str) -> DatabaseUrl:
    try:
        return cast("DatabaseUrl", DATABASES.read(to))
    except ValueError as error:
        raise WrongUsage(f"--to {DATABASES.mask(to)!r}: {error}") from error


def _archive(inventory: InventorySettings, order: OrderSettings, to: DatabaseUrl, age: timedelta) -> None:
    with (
        closing(Database(inventory.database_url)) as books,
        closing(Database(order.database_url)) as orders,
        closing(Database(to)) as place,
    ):
        with _named(variable_of(InventorySettings, "database_url")):
            books.check(MIGRATIONS)
        with _named(variable_of(OrderSettings, "database_url")):
            orders.check(ORDER_MIGRATIONS)
        with _named("--to"):
            place.migrate(MIGRATIONS)
            _refuse_shop(place)

        def finished(order_sns: Sequence[str]) -> set[str]:
            row = OrderRow
            query = row.select(row.order_sn).where(row.order_sn.in_(order_sns), row.state == State.FINISHED)
            with orders.reading():
                return {found for (found,) in orders.engine.execute(query).fetchall()}

        before = books.time() - age
        moving = Archive(books, place, finished)
        for what, move in (("movements", moving.movements), ("sales", moving.sales), ("request ids", moving.requests)):
            print(f"{move(before):,} {what} from before {before:%Y-%m-%d %H:%M} UTC", flush=True)


@contextmanager
def _named(by: str) -> Iterator[None]:
    """Make an unusable database wrong usage of the option or variable that names it."""
    try:
        yield
    except UnusableEngine as error:
        raise WrongUsage("\n".join(f"{by}: {line}" for line in error.lines)) from error


def _refuse_shop(place: Database) -> None:
    """Rows that are moved into the database that they come from would be deleted there.

    Raises:
        WrongUsage: It has stock, which no archive has.
    """
    with place.reading():
        if place.engine.execute(StockRow.select(StockRow.sku).limit(1)).fetchall():
            raise WrongUsage("--to: this database is a shop's, for it has stock; name another one for the archive")


if __name__ == "__main__":
    command_line.run(archive)
