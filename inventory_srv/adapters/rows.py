"""Which columns are read of each table, and what records their rows become."""

from collections.abc import Iterable
from typing import Any, Final

from common.database import from_micros
from inventory_srv.adapters.models import MovementTable, SaleLineTable, SaleTable, StockRequestTable, StockTable
from inventory_srv.domain.records import (
    AnsweredRequest,
    Line,
    Movement,
    MovementKind,
    Sale,
    SaleState,
    Stock,
    StoredMovement,
)

Row = tuple[Any, ...]

STOCK: Final = (StockTable.sku, StockTable.available, StockTable.sold, StockTable.version, StockTable.update_time)
SALE: Final = (
    SaleTable.order_sn,
    SaleTable.state,
    SaleTable.add_time,
    SaleTable.return_time,
    SaleTable.return_reason,
)
SALE_LINE: Final = (SaleLineTable.order_sn, SaleLineTable.sku, SaleLineTable.quantity)
MOVEMENT: Final = (
    MovementTable.id,
    MovementTable.sku,
    MovementTable.kind,
    MovementTable.delta,
    MovementTable.available_after,
    MovementTable.order_sn,
    MovementTable.request_id,
    MovementTable.reason,
    MovementTable.add_time,
)
REQUEST: Final = (
    StockRequestTable.request_id,
    StockRequestTable.content,
    StockRequestTable.sku,
    StockRequestTable.available,
    StockRequestTable.sold,
    StockRequestTable.version,
    StockRequestTable.add_time,
)


def to_stock(row: Row) -> Stock:
    sku, available, sold, version, updated = row
    return Stock(sku, available, sold, version, from_micros(updated))


def to_sales(sale_rows: Iterable[Row], line_rows: Iterable[Row]) -> list[Sale]:
    """The sales in the order of their rows, each with its lines by sku."""
    lines: dict[str, list[Line]] = {}
    for order_sn, sku, quantity in line_rows:
        lines.setdefault(order_sn, []).append(Line(sku, quantity))
    return [_to_sale(row, tuple(sorted(lines.get(row[0], ())))) for row in sale_rows]


def to_movement(row: Row) -> StoredMovement:
    number, sku, kind, delta, available_after, order_sn, request_id, reason, added = row
    time = from_micros(added)
    return StoredMovement(
        number, Movement(sku, MovementKind(kind), delta, available_after, order_sn, request_id, reason, time)
    )


def to_request(row: Row) -> AnsweredRequest:
    request_id, content, *stock = row
    return AnsweredRequest(request_id, content, to_stock(tuple(stock)))


def _to_sale(row: Row, lines: tuple[Line, ...]) -> Sale:
    order_sn, state, added, returned, reason = row
    returned_time = None if returned is None else from_micros(returned)
    return Sale(order_sn, SaleState(state), lines, from_micros(added), returned_time, reason)
