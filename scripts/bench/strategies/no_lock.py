"""1. No lock at all: read, compare, write back. Two callers who read the same number both write it back less one."""

from common.database import Database
from inventory_srv.domain.errors import NoStock
from scripts.bench.strategies.strategy import Hook, Lines, nothing, read_stock, write_sale


class NoLock:
    def __init__(self, database: Database, between: Hook = nothing) -> None:
        self._database = database
        self._between = between

    def sell(self, order_sn: str, lines: Lines) -> None:
        left = {}
        with self._database.reading():
            for sku, units in lines.items():
                available, _ = read_stock(self._database, sku)
                if available < units:
                    raise NoStock([(sku, units, available)])
                left[sku] = available - units
        self._between()  # whoever reads now reads the same

        def write_back() -> None:
            for sku, available in left.items():
                self._database.execute("UPDATE stock SET available = ? WHERE sku = ?", (available, sku))
            write_sale(self._database, order_sn, lines)

        self._database.write(write_back)

    def close(self) -> None:
        pass
