"""6. One conditional update: the row guards itself. The database finds the row, compares and writes in one statement.

The row stays locked from the UPDATE until the COMMIT is on the disk, so one sku sells as often a second as the disk can
commit one after the other.
"""

from typing import Final

from common.database import Database
from inventory_srv.domain.errors import NoStock
from scripts.bench.strategies.strategy import Lines, read_stock, write_sale

_TAKE: Final = "UPDATE stock SET available = available - ? WHERE sku = ? AND available >= ?"


class ConditionalUpdate:
    def __init__(self, database: Database) -> None:
        self._database = database

    def sell(self, order_sn: str, lines: Lines) -> None:
        def take() -> None:
            for sku, units in lines.items():
                if not self._database.execute(_TAKE, (units, sku, units)).rowcount:
                    available, _ = read_stock(self._database, sku)
                    raise NoStock([(sku, units, available)])  # rolls back what was taken of the skus before
            write_sale(self._database, order_sn, lines)

        self._database.write(take)

    def close(self) -> None:
        pass
