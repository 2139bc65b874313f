"""Between the proto's messages and this service's own values."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import uuid4

from google.protobuf.timestamp_pb2 import Timestamp

from common.errors import InvalidArgument, Violation
from common.rpc.errors import LARGEST_MAX_BYTES, any_to_status
from inventory_srv.domain.changes import AdjustStock, Reback, Sell, SetStock
from inventory_srv.domain.records import Line, MovementKind, Sale, SaleState, Stock, StockDifference, StoredMovement
from inventory_srv.use_cases.audit import AuditPage
from reback.inventory.v1 import inventory_pb2 as pb

DOMAIN: Final = "inventory"
"""Whose errors these are."""

MOST_LINES: Final = 1000
"""Lines that all sells of a batch have at most."""

MOST_BYTES: Final = 1024 * 1024
"""Bytes that a batch of sells has at most."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)

_STATES: Final = {
    SaleState.SOLD: pb.SALE_STATE_SOLD,
    SaleState.RETURNED: pb.SALE_STATE_RETURNED,
}
_STATES_ASKED: Final = {number: state for state, number in _STATES.items()}
_KINDS: Final = {
    MovementKind.SET: pb.MOVEMENT_KIND_SET,
    MovementKind.ADJUST: pb.MOVEMENT_KIND_ADJUST,
    MovementKind.SELL: pb.MOVEMENT_KIND_SELL,
    MovementKind.REBACK: pb.MOVEMENT_KIND_REBACK,
}


def sell_from_proto(request: pb.SellRequest) -> Sell:
    return Sell(request.order_sn, tuple(Line(line.sku, line.quantity) for line in request.lines))


def sells_from_proto(request: pb.BatchSellRequest) -> list[Sell]:
    """Read the sells of a batch.

    Raises:
        InvalidArgument: It has more lines or bytes than a batch may have, or an order twice.
    """
    violations = [*_too_much(request), *_repeated_orders(request)]
    if violations:
        raise InvalidArgument.of(violations)
    return [sell_from_proto(sell) for sell in request.sells]


def _too_much(request: pb.BatchSellRequest) -> Iterator[Violation]:
    lines = sum(len(sell.lines) for sell in request.sells)
    if lines > MOST_LINES:
        yield Violation("sells", f"must have at most {MOST_LINES} lines in all, not {lines}")
    size = request.ByteSize()
    if size > MOST_BYTES:  # only by fields that this version does not know
        yield Violation("sells", f"must have at most {MOST_BYTES} bytes in all, not {size}")


def _repeated_orders(request: pb.BatchSellRequest) -> Iterator[Violation]:
    first: dict[str, int] = {}
    for at, sell in enumerate(request.sells):
        before = first.setdefault(sell.order_sn, at)
        if before != at:
            yield Violation(f"sells[{at}].order_sn", f"must be of another order than sells[{before}]")


def reback_from_proto(request: pb.RebackRequest) -> Reback:
    return Reback(request.order_sn, request.reason)


def set_stock_from_proto(request: pb.SetStockRequest) -> SetStock:
    return SetStock(
        # Every change carries a key; one that its caller does not know is used once.
        request_id=request.request_id or uuid4().hex,
        sku=request.sku,
        quantity=request.quantity,
        reason=request.reason,
        expected_version=request.expected_version if request.HasField("expected_version") else None,
    )


def adjust_stock_from_proto(request: pb.AdjustStockRequest) -> AdjustStock:
    return AdjustStock(request.request_id, request.sku, request.delta, request.reason)


def state_from_proto(state: "pb.SaleState.ValueType") -> SaleState | None:
    """None: any."""
    return _STATES_ASKED.get(state)


def time_from_proto(field: str, moment: Timestamp) -> datetime:
    """The time in `field`, rounded up to whole microseconds: times here have no finer part.

    Raises:
        InvalidArgument: No time between the years 1 and 9999.
    """
    try:
        finer = 1 if moment.nanos % 1000 else 0
        return moment.ToDatetime(tzinfo=UTC) + timedelta(microseconds=finer)
    except (ValueError, OverflowError):
        raise InvalidArgument.of([Violation(field, "must be a time between the years 1 and 9999")]) from None


def stock_to_proto(stock: Stock) -> pb.Stock:
    return pb.Stock(
        sku=stock.sku,
        available=stock.available,
        sold=stock.sold,
        version=stock.version,
        update_time=_time_to_proto(stock.update_time),
    )


def sale_to_proto(sale: Sale) -> pb.Sale:
    return pb.Sale(
        order_sn=sale.order_sn,
        state=_STATES[sale.state],
        lines=[pb.SaleLine(sku=sku, quantity=quantity) for sku, quantity in sale.lines],
        create_time=_time_to_proto(sale.create_time),
        return_time=None if sale.return_time is None else _time_to_proto(sale.return_time),
        return_reason=sale.return_reason,
    )


def batch_sell_to_proto(sells: Sequence[Sell], outcomes: Sequence[Sale | Exception]) -> pb.BatchSellResponse:
    """The results of a batch, in its order; what is no refusal is logged as a bug of that one sell."""
    results = map(_result_to_proto, (sell.order_sn for sell in sells), outcomes)
    return pb.BatchSellResponse(results=results)


def _result_to_proto(order_sn: str, outcome: Sale | Exception) -> pb.SellResult:
    if not isinstance(outcome, Exception):
        return pb.SellResult(order_sn=order_sn, sale=sale_to_proto(outcome))
    # Not in the trailers, so with all violations: the lines of a batch bound them.
    error = any_to_status(outcome, DOMAIN, max_bytes=LARGEST_MAX_BYTES, method="BatchSell", order_sn=order_sn)
    return pb.SellResult(order_sn=order_sn, error=error)


def movement_to_proto(stored: StoredMovement) -> pb.Movement:
    movement = stored.movement
    return pb.Movement(
        id=stored.id,
        sku=movement.sku,
        kind=_KINDS[movement.kind],
        delta=movement.delta,
        available_after=movement.available_after,
        order_sn=movement.order_sn or "",
        request_id=movement.request_id or "",
        reason=movement.reason,
        create_time=_time_to_proto(movement.create_time),
    )


def audit_to_proto(page: AuditPage) -> pb.AuditStockResponse:
    return pb.AuditStockResponse(
        skus_checked=page.skus_checked,
        differences=[_difference_to_proto(difference) for difference in page.differences],
        next_page_token=page.next_page_token,
    )


def _difference_to_proto(difference: StockDifference) -> pb.StockDifference:
    return pb.StockDifference(**difference._asdict())


def _time_to_proto(moment: datetime) -> Timestamp:
    since = moment - _EPOCH  # three times as fast as Timestamp.FromDatetime
    return Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1000)
