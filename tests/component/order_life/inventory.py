"""Inventory without a network: the stub that the order service calls, whose calls can be lost, or come late."""

from collections.abc import Callable
from typing import Any, Final, TypeVar

import grpc

from common.deadline import Deadline
from common.errors import DomainError, InvalidArgument
from common.rpc.errors import STATUS_KEY, code_of, to_status
from inventory_srv.domain.changes import Change
from inventory_srv.domain.errors import QueueFull, StockBusy
from inventory_srv.entrypoints import translation
from inventory_srv.use_cases.queries import Queries
from inventory_srv.use_cases.stock_writer import StockWriter
from reback.inventory.v1 import inventory_pb2 as pb
from tests.component.order_life.faults import Call

T = TypeVar("T")

TIMEOUT_S: Final = 60.0
"""How long a change may wait for the writer's thread on a busy machine."""


_UNANSWERED: Final = frozenset({Call.ANSWER_LOST, Call.ONE_LEFT_OUT, Call.ONE_DOUBLED})
"""What a call that is about one order makes of these fates."""


class CallFailed(grpc.RpcError):
    """What a stub raises: a code, and a refusal's details in the trailers."""

    def __init__(self, code: grpc.StatusCode, refusal: DomainError | None = None) -> None:
        super().__init__(f"{code.name} {refusal or ''}")
        self._code = code
        self._refusal = refusal

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return str(self)

    def trailing_metadata(self) -> Any:
        if self._refusal is None:
            return ()
        return ((STATUS_KEY, to_status(self._refusal, "inventory").SerializeToString()),)


class Inventory:
    """What of `InventoryServiceStub` the order service calls, with the real writer and queries behind it.

    Args:
        writer: Started.
        fate: Asked what becomes of each call.

    Attributes:
        late: Changes whose callers no longer wait, still on their way.
    """

    def __init__(self, writer: StockWriter, queries: Queries, fate: Callable[[], Call]) -> None:
        self.late: list[Change] = []
        self._writer = writer
        self._queries = queries
        self._fate = fate

    def Sell(self, request: pb.SellRequest, timeout: float) -> pb.Sale:  # noqa: N802 - named by the proto
        return self._change(translation.sell_from_proto(request))

    def BatchSell(self, request: pb.BatchSellRequest, timeout: float) -> pb.BatchSellResponse:  # noqa: N802
        """Its results come in no order that a caller could rely on."""
        sells = translation.sells_from_proto(request)
        fate = self._fate()
        late = {Call.LATE: len(sells), Call.ONE_LATE: 1}.get(fate, 0)
        self.late += sells[:late]
        if fate is Call.LATE:
            raise CallFailed(grpc.StatusCode.DEADLINE_EXCEEDED)
        _perhaps_never(fate)
        try:
            outcomes = self._writer.carry_out_all(sells[late:], Deadline.after(TIMEOUT_S))
        except DomainError as refusal:
            raise _told(refusal) from refusal
        if fate is Call.ANSWER_LOST:
            raise CallFailed(grpc.StatusCode.UNAVAILABLE)
        results = list(translation.batch_sell_to_proto(sells[late:], outcomes).results)[::-1]
        if fate is Call.ONE_LEFT_OUT:
            results.pop()
        if fate is Call.ONE_DOUBLED:
            results.append(results[-1])
        return pb.BatchSellResponse(results=results)

    def Reback(self, request: pb.RebackRequest, timeout: float) -> pb.Sale:  # noqa: N802 - named by the proto
        return self._change(translation.reback_from_proto(request))

    def BatchGetSales(  # noqa: N802 - named by the proto
        self, request: pb.BatchGetSalesRequest, timeout: float
    ) -> pb.BatchGetSalesResponse:
        sales, unread = self._ask(lambda: self._queries.batch_get_sales(request.order_sns))
        return pb.BatchGetSalesResponse(sales=map(translation.sale_to_proto, sales), unread_order_sns=unread)

    def BatchGetStocks(  # noqa: N802 - named by the proto
        self, request: pb.BatchGetStocksRequest, timeout: float
    ) -> pb.BatchGetStocksResponse:
        stocks = self._ask(lambda: self._queries.batch_get_stocks(request.skus))
        return pb.BatchGetStocksResponse(stocks=map(translation.stock_to_proto, stocks))

    def carry_out(self, change: Change) -> Any:
        """Make a change in inventory itself, no call in between.

        Raises:
            DomainError: It is refused, or the outcome is not known.
        """
        return self._writer.carry_out(change, Deadline.after(TIMEOUT_S))

    def _change(self, change: Change) -> pb.Sale:
        fate = self._fate()
        if fate in {Call.LATE, Call.ONE_LATE}:
            self.late.append(change)
            raise CallFailed(grpc.StatusCode.DEADLINE_EXCEEDED)
        _perhaps_never(fate)
        try:
            sale = self.carry_out(change)
        except DomainError as refusal:
            if fate in _UNANSWERED:
                raise CallFailed(grpc.StatusCode.UNAVAILABLE) from refusal
            raise _told(refusal) from refusal
        if fate in _UNANSWERED:
            raise CallFailed(grpc.StatusCode.UNAVAILABLE)
        return translation.sale_to_proto(sale)

    def _ask(self, question: Callable[[], T]) -> T:
        fate = self._fate()
        _perhaps_never(fate)
        if fate in {Call.LATE, Call.ONE_LATE, *_UNANSWERED}:
            raise CallFailed(grpc.StatusCode.DEADLINE_EXCEEDED)
        try:
            return question()
        except DomainError as refusal:
            raise _told(refusal) from refusal


def _perhaps_never(fate: Call) -> None:
    if fate is Call.NEVER_ARRIVED:
        raise CallFailed(grpc.StatusCode.UNAVAILABLE)
    if fate is Call.BUSY:
        raise _told(StockBusy(1))
    if fate is Call.INVALID:
        raise _told(InvalidArgument("one of many is wrong"))
    if fate is Call.FULL:
        raise _told(QueueFull(1))


def _told(refusal: DomainError) -> CallFailed:
    code = code_of(refusal)
    assert code is not None, f"{refusal!r} should not reach a caller"
    return CallFailed(code, refusal)
