"""Which columns are read of each table, and what records their rows become."""

from collections.abc import Iterable
from typing import Any, Final

from common.database import from_micros
from inventory_srv.adapters.models import MovementRow, SaleLineRow, SaleRow, StockRequestRow, StockRow
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

STOCK: Final = (StockRow.sku, StockRow.available, StockRow.sold, StockRow.version, StockRow.update_time)
SALE: Final = (
    SaleRow.order_sn,
    SaleRow.state,
    SaleRow.add_time,
    SaleRow.return_time,
    SaleRow.return_reason,
)
SALE_LINE: Final = (SaleLineRow.order_sn, SaleLineRow.sku, SaleLineRow.quantity)
MOVEMENT: Final = (
    MovementRow.id,
    MovementRow.sku,
    MovementRow.kind,
    MovementRow.delta,
    MovementRow.available_after,
    MovementRow.order_sn,
    MovementRow.request_id,
    MovementRow.reason,
    MovementRow.add_time,
)
REQUEST: Final = (
    StockRequestRow.request_id,
    StockRequestRow.content,
    StockRequestRow.sku,
    StockRequestRow.available,
    StockRequestRow.sold,
    StockRequestRow.version,
    StockRequestRow.add_time,
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
