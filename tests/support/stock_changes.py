"""Sheets as tests want them, and changes written short."""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Final

from inventory_srv.domain.changes import AdjustStock, Reback, Sell, SetStock, WorkingSet
from inventory_srv.domain.records import Line, Stock

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
LATER: Final = START + timedelta(minutes=1)

_numbers = count(1)


def working_set_with(**available: int) -> WorkingSet:
    """A working set of these stocks, none of it sold, each in version 1."""
    return WorkingSet([Stock(sku, units, 0, 1, START) for sku, units in available.items()])


def sell(order_sn: str, *lines: tuple[str, int]) -> Sell:
    return Sell(order_sn, tuple(Line(sku, quantity) for sku, quantity in lines))


def reback(order_sn: str, reason: str = "close") -> Reback:
    return Reback(order_sn, reason)


def set_stock(
    sku: str, quantity: int, *, request_id: str | None = None, reason: str = "counted", expected: int | None = None
) -> SetStock:
    return SetStock(request_id or f"set-{next(_numbers)}", sku, quantity, reason, expected)


def adjust(sku: str, delta: int, *, request_id: str | None = None, reason: str = "delivered") -> AdjustStock:
    return AdjustStock(request_id or f"adjust-{next(_numbers)}", sku, delta, reason)


def units(working_set: WorkingSet, sku: str) -> tuple[int, int]:
    """What is available and what is sold."""
    return working_set.stocks[sku].available, working_set.stocks[sku].sold
