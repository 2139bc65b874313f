"""4. Optimistic, by version: written back only if nobody wrote since it was read. Three tries, all or nothing.

Nobody waits, and so nobody is sure of a turn: the more callers want one sku, the more of them are sent away though
there is stock.
"""

from typing import Final

from common.database import Database
from common.errors import Aborted
from inventory_srv.domain.errors import NoStock
from scripts.bench.strategies.strategy import Hook, Lines, nothing, read_stock, write_sale

_TRIES: Final = 3
_WRITE_BACK: Final = "UPDATE stock SET available = ?, version = version + 1 WHERE sku = ? AND version = ?"


class _Overtaken(Exception):
    """Somebody wrote a row since it was read."""


class Version:
    def __init__(self, database: Database, between: Hook = nothing) -> None:
        self._database = database
        self._between = between

    def sell(self, order_sn: str, lines: Lines) -> None:
        for _ in range(_TRIES):
            try:
                self._try(order_sn, lines)
            except _Overtaken:
                continue
            return
        raise Aborted(f"others were faster {_TRIES} times", reason="STOCK_BUSY")

    def _try(self, order_sn: str, lines: Lines) -> None:
        read = {}
        with self._database.reading():
            for sku, units in lines.items():
                read[sku] = available, _ = read_stock(self._database, sku)
                if available < units:
                    raise NoStock([(sku, units, available)])
        self._between()

        def write_back() -> None:
            for sku, (available, version) in read.items():
                if not self._database.execute(_WRITE_BACK, (available - lines[sku], sku, version)).rowcount:
                    raise _Overtaken  # rolls back what was written of the skus before
            write_sale(self._database, order_sn, lines)

        self._database.write(write_back)

    def close(self) -> None:
        pass
