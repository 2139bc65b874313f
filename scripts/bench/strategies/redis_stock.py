"""7. Redis as the stock itself: a Lua script takes the units, which answers the caller; the database is written later.

What was sold and not yet written is in this process's memory alone: when it is killed, Redis knows that those units are
gone, and nobody knows to whom.
"""

import threading
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from queue import SimpleQueue
from typing import Final

import peewee
import structlog
from redis import Redis

from common.database import Database
from common.errors import Unavailable
from inventory_srv.domain.errors import NoStock, SkuNotFound
from scripts.bench.strategies.strategy import Hook, Lines, nothing, write_sales

# KEYS: a counter a sku. ARGV: as many units. Returns nothing when all were taken; else the first that is short and what
# there is of it (false: no such sku), and nothing was taken.
_TAKE: Final = """
for at, key in ipairs(KEYS) do
    local available = redis.call('get', key)
    if not available or tonumber(available) < tonumber(ARGV[at]) then
        return {at, available}
    end
end
for at, key in ipairs(KEYS) do
    redis.call('decrby', key, ARGV[at])
end
return false
"""
_AT_ONCE: Final = 500  # sales in one transaction
_WRITTEN_DOWN: Final = "UPDATE stock SET available = available - ? WHERE sku = ?"
_PAUSE_S: Final = 0.5

_Sold = tuple[str, Lines]  # order_sn, and what it took

log = structlog.get_logger(__name__)


class RedisStock:
    """`prefix` is put before the keys; `before_writing` is called by the background thread before a transaction."""

    def __init__(self, database: Database, client: Redis, prefix: str, before_writing: Hook = nothing) -> None:
        self._database = database
        self._prefix = prefix
        self._take = client.register_script(_TAKE)
        self._load(client)
        self._sold: SimpleQueue[_Sold | None] = SimpleQueue()
        self._before_writing = before_writing
        self._writer = threading.Thread(target=self._write_down, name="write-down", daemon=True)
        self._writer.start()

    def sell(self, order_sn: str, lines: Lines) -> None:
        short = self._take(keys=[self._prefix + sku for sku in lines], args=list(lines.values()))
        if short:
            self._refuse(lines, *short)
        self._sold.put((order_sn, lines))

    def _refuse(self, lines: Lines, at: int, available: bytes | None = None) -> None:
        sku, units = list(lines.items())[at - 1]
        if available is None:
            raise SkuNotFound([sku])
        raise NoStock([(sku, units, int(available))])

    def _load(self, client: Redis) -> None:
        """Put what the database has into Redis, but for the skus that are there: another replica sells them already."""
        with self._database.reading(), client.pipeline(transaction=False) as pipe:
            for sku, available in self._database.execute("SELECT sku, available FROM stock").fetchall():
                pipe.set(self._prefix + sku, available, nx=True)
            pipe.execute()

    def _write_down(self) -> None:
        """The background thread: what was sold meanwhile in one transaction, over and over."""
        ended = False
        while not ended:
            some = [self._sold.get()]
            self._before_writing()
            while len(some) < _AT_ONCE and not self._sold.empty():
                some.append(self._sold.get())
            ended = None in some
            self._write([sold for sold in some if sold is not None])

    def _write(self, some: Sequence[_Sold]) -> None:
        while some:
            try:
                self._database.write(partial(self._note, some))
            except Unavailable as error:
                log.warning("what was sold can't be written yet", sales=len(some), exc_info=error)
                time.sleep(_PAUSE_S)
                continue
            except peewee.IntegrityError:
                if len(some) == 1:
                    log.exception("an order took stock twice, and can be written once", order_sn=some[0][0])
                else:
                    for sold in some:
                        self._write([sold])
            some = ()

    def _note(self, some: Sequence[_Sold]) -> None:
        taken: Counter[str] = Counter()
        for _, lines in some:
            taken.update(lines)
        write_sales(self._database, some)
        self._database.execute_many(_WRITTEN_DOWN, [(units, sku) for sku, units in sorted(taken.items())])

    def close(self) -> None:
        """Write down what was sold, and end."""
        self._sold.put(None)
        self._writer.join()
