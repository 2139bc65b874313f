"""What every strategy of selling offers, and the two tables that all of them but Reback share.

    stock (sku, available, version)      sale (order_sn, sku, quantity)

All strategies send the same SQL through the project's own pool (`common.database`), so that nothing else differs. They
do less than Reback, which also keeps a ledger, the states of sales and the answers to repeats.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from common.database import Database
from inventory_srv.domain.errors import SkuNotFound

Lines = Mapping[str, int]
"""Units by sku, in ascending order: everybody locks skus in the same order, so no two wait for each other."""

Hook = Callable[[], None]
"""Called between the reading of a stock and the writing of it: where a test lets another caller in."""

_STOCK: Final = """
    CREATE TABLE IF NOT EXISTS stock
        (sku VARCHAR(64) NOT NULL PRIMARY KEY, available BIGINT NOT NULL, version BIGINT NOT NULL)
"""
_SALE: Final = """
    CREATE TABLE IF NOT EXISTS sale
        (order_sn VARCHAR(64) NOT NULL, sku VARCHAR(64) NOT NULL, quantity BIGINT NOT NULL, PRIMARY KEY (order_sn, sku))
"""
_READ: Final = "SELECT available, version FROM stock WHERE sku = ?"


class Strategy(Protocol):
    """A strategy of selling; its `sell` is called by many threads at once."""

    def sell(self, order_sn: str, lines: Lines) -> None:
        """Take the units of all lines, or none, and note the sale.

        Raises:
            DomainError: Nothing was taken: too little stock, an unknown sku, or a race that was lost.
        """

    def close(self) -> None:
        """Finish what was begun."""


def nothing() -> None:
    """Let nobody in."""


def make_tables(database: Database) -> None:
    """Make the tables that are not there yet."""
    with database.reading():
        for statement in (_STOCK, _SALE):
            database.execute(statement)


def stock_up(database: Database, units: Lines) -> None:
    """Insert stock rows of skus that have none."""
    rows = [(sku, available, 0) for sku, available in units.items()]
    database.write(lambda: database.insert_many("stock (sku, available, version)", rows))


def read_stock(database: Database, sku: str, how: str = "") -> tuple[int, int]:
    """What is available of a sku, and the version of its row; within `reading` or `write`.

    `how` is what the SELECT ends with, ` FOR UPDATE`.

    Raises:
        SkuNotFound: There is no such row.
    """
    row: tuple[int, int] | None = database.execute(_READ + how, (sku,)).fetchone()
    if row is None:
        raise SkuNotFound([sku])
    return row


def write_sale(database: Database, order_sn: str, lines: Lines) -> None:
    """Note who took what; within `write`."""
    write_sales(database, [(order_sn, lines)])


def write_sales(database: Database, sales: Sequence[tuple[str, Lines]]) -> None:
    """The same of many, each an order_sn and its lines."""
    rows = [(order_sn, sku, units) for order_sn, lines in sales for sku, units in lines.items()]
    database.insert_many("sale (order_sn, sku, quantity)", rows)
