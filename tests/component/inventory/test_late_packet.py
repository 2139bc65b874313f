"""The writer gives up on a packet that the server has taken and carries out later: nothing may happen twice."""

import socket
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from inventory_srv.crash_points import CrashPoint
from inventory_srv.domain.records import SaleState
from tests.component.inventory.shop import open_shop, outcome_of
from tests.support.databases import ask, connect, url_of
from tests.support.stock_changes import sell
from tests.support.waiting import wait_until


def runs(url: str, which: str) -> bool:
    """Whether the server carries out such a statement."""
    return bool(ask(url, f"SELECT 1 FROM information_schema.processlist WHERE {which}"))


@pytest.mark.parametrize("engine", ["mysql"], indirect=True)
def test_a_batch_that_lands_after_it_was_looked_up_is_made_once(engine: str, tmp_path: Path) -> None:
    connections: list[Any] = []

    def crash_hook(point: str) -> None:
        if point == CrashPoint.BATCH_BEFORE_COMMIT:
            connections.append(shop.database.engine.connection())

    with open_shop(tmp_path / "inventory.db", crash_hook=crash_hook) as shop:
        shop.stock_up(tea=5)
        connections.clear()
        url = url_of(tmp_path, "inventory")
        with closing(connect(url)) as other, other.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("SELECT * FROM stock WHERE sku = 'tea' FOR UPDATE")
            (selling,) = shop.put([sell("o1", ("tea", 2))])
            wait_until(lambda: bool(connections), "the batch is about to be sent")
            first = connections[0]
            is_first = f"db = DATABASE() AND id = {first.thread_id()}"
            wait_until(lambda: runs(url, f"{is_first} AND info LIKE 'UPDATE%'"), "its packet waits for the row")
            first._sock.shutdown(socket.SHUT_RDWR)
            is_second = f"db = DATABASE() AND id NOT IN ({first.thread_id()}, CONNECTION_ID())"
            wait_until(lambda: runs(url, f"{is_second} AND info LIKE '%FOR UPDATE%'"), "the batch is looked up")
            cursor.execute("ROLLBACK")

        assert outcome_of(selling).state is SaleState.SOLD
        assert shop.units("tea") == (3, 2)
        assert shop.differences() == []
