"""Move what is long over out of inventory's books: old movements, sales that are over, request ids."""

import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Final

import typer

from common.database import Database, DatabaseUnavailable
from common.database.port import DatabaseUrl
from common.process.settings import load_settings
from inventory_srv.bootstrap import MIGRATIONS
from inventory_srv.settings import InventorySettings
from inventory_srv.use_cases.archive import Archive
from order_srv.adapters.models import OrderRow
from order_srv.domain.order_state import State
from order_srv.settings import OrderSettings
from scripts.lib import command_line

_SHORTEST: Final = timedelta(days=7)
"""Longer than RocketMQ keeps any message (3 days), or delays one."""


def archive(
    to: Annotated[str, typer.Option(help="The archive: sqlite:////path/to/file.db, mysql://user:password@host/name.")],
    older_than: Annotated[int, typer.Option(min=_SHORTEST.days, help="Days that rows stay in the books.")] = 90,
) -> None:
    """Go through the books once, a page at a time, while the services run. It may be stopped and started again."""
    inventory, order = load_settings(InventorySettings), load_settings(OrderSettings)
    age = timedelta(days=older_than)
    if age < order.pay_within + _SHORTEST:
        print(
            f"--older-than {older_than}: must be at least {_SHORTEST.days} days more than ORDER_PAY_WITHIN,"
            f" which is {order.pay_within.total_seconds():.0f} s",
            file=sys.stderr,
        )
        raise typer.Exit(2)
    try:
        _archive(inventory.database_url, order.database_url, to, age)
    except DatabaseUnavailable as error:
        print(f"{error}; what was moved so far is in the archive", file=sys.stderr)
        raise typer.Exit(1) from error


def _archive(inventory: DatabaseUrl, order: DatabaseUrl, to: str, age: timedelta) -> None:
    books, orders, place = Database(inventory), Database(order), Database(to)
    try:
        place.migrate(MIGRATIONS)

        def finished(order_sns: Sequence[str]) -> set[str]:
            row = OrderRow
            query = row.select(row.order_sn).where(row.order_sn.in_(order_sns), row.state == State.FINISHED)
            with orders.reading():
                return {found for (found,) in orders.engine.execute(query).fetchall()}

        before = books.time() - age
        moving = Archive(books, place, finished)
        for what, move in (("movements", moving.movements), ("sales", moving.sales), ("request ids", moving.requests)):
            print(f"{move(before):,} {what} from before {before:%Y-%m-%d %H:%M} UTC", flush=True)
    finally:
        for database in (books, orders, place):
            database.close()


if __name__ == "__main__":
    command_line.run(archive)
