"""3. A pessimistic row lock: SELECT … FOR UPDATE holds the row until COMMIT; who comes next waits in the database."""

from common.database import Database
from inventory_srv.domain.errors import NoStock
from scripts.bench.strategies.strategy import Lines, read_stock, write_sale


class RowLock:
    def __init__(self, database: Database) -> None:
        self._database = database

    def sell(self, order_sn: str, lines: Lines) -> None:
        def take() -> None:
            for sku, units in lines.items():  # ascending: as the request has them, AB and BA would be a deadlock
                available, _ = read_stock(self._database, sku, self._database.for_update)
                if available < units:
                    raise NoStock([(sku, units, available)])  # rolls back what was taken of the skus before
                self._database.execute("UPDATE stock SET available = ? WHERE sku = ?", (available - units, sku))
            write_sale(self._database, order_sn, lines)

        self._database.write(take)

    def close(self) -> None:
        pass
