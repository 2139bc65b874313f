"""What the order service needs of inventory."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import grpc
import structlog

from common.batching import GroupCommit
from common.deadline import Deadline
from common.errors import (
    AlreadyExists,
    DomainError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unavailable,
    Violation,
)
from common.rpc.errors import to_domain_error
from order_srv.domain.order import Line
from reback.inventory.v1 import inventory_pb2 as pb
from reback.inventory.v1.inventory_pb2_grpc import InventoryServiceStub

SELL: Final = "/reback.inventory.v1.InventoryService/Sell"
"""Tried once, never repeated by the channel: a late repeat must not sell for an order that has failed by then."""

_TIMEOUT_S: Final = 5.0  # for calls that no caller waits for
_SHORT_FOR_S: Final = 1.0  # how long a sku that was short is looked at before it is asked for
_LOOK_TIMEOUT_S: Final = 1.0
_MOST_LOOKED_AT: Final = 1000  # skus at once, inventory's own limit
_LARGEST_QUANTITY: Final = 2**31 - 1  # of one line of a sell
_REFUSALS: Final = (FailedPrecondition, NotFound, InvalidArgument, AlreadyExists)

log = structlog.get_logger(__name__)


class Refused(Exception):
    """Inventory took nothing and never will; `error` says why."""

    def __init__(self, error: DomainError) -> None:
        super().__init__(str(error))
        self.error = error


class StockUnclear(Exception):
    """Inventory may or may not have acted."""


class StockClient:
    """Sells and gives back through inventory's stub.

    Args:
        stub: On a channel that never repeats `SELL`.

    Attributes:
        looked: Looks at stock, for all callers of one moment; here for tests.
    """

    def __init__(self, stub: InventoryServiceStub) -> None:
        self._stub = stub
        self._short_until: dict[str, float] = {}
        self.looked: GroupCommit[_Look, dict[str, int]] = GroupCommit(self._looked_together, shared_errors=())

    def reject_known_shortage(self, quantities: Mapping[str, int], deadline: Deadline) -> None:
        """Refuse before anything is written what inventory refused a moment ago and would refuse again.

        A flash sale must not flood the broker with half messages. Skus that were not short lately are not looked at.
        Callers of one moment share a look, which is made after the last of them came: a refusal is never older than its
        call, but for what inventory's own reads may lag behind.

        Raises:
            FailedPrecondition: `NO_STOCK`, with every sku of those looked at that is short.
        """
        now = time.monotonic()
        suspects = [sku for sku in quantities if self._short_until.get(sku, 0.0) > now]
        if not suspects:
            return
        try:
            available = self.looked.submit(_Look(suspects, deadline))
        except grpc.RpcError:
            return  # the sell will tell
        short = {sku: available[sku] for sku in suspects if sku in available and available[sku] < quantities[sku]}
        if short:
            self._remember_short(short)
            raise _no_stock(short, quantities)

    def _looked_together(self, looks: Sequence["_Look"]) -> list[dict[str, int]]:
        """What inventory has, asked after the last of these callers came."""
        skus = list(dict.fromkeys(sku for look in looks for sku in look.skus))[:_MOST_LOOKED_AT]
        timeout = min(_LOOK_TIMEOUT_S, max(look.deadline.remaining() for look in looks))
        answer = self._stub.BatchGetStocks(pb.BatchGetStocksRequest(skus=skus), timeout=timeout)
        available = {stock.sku: stock.available for stock in answer.stocks}
        return [available] * len(looks)

    def sell(self, order_sn: str, lines: Sequence[Line], deadline: Deadline) -> None:
        """Sell an order's lines, all or nothing.

        Raises:
            Refused: Nothing was taken and nothing will be.
            StockUnclear: Perhaps it sold, perhaps it still will.
        """
        request = pb.SellRequest(order_sn=order_sn, lines=_sale_lines(lines))
        try:
            self._stub.Sell(request, timeout=deadline.remaining())
        except grpc.RpcError as failure:
            error = to_domain_error(failure)
            if isinstance(error, _REFUSALS):
                if error.reason == "NO_STOCK":
                    self._remember_short(violation.subject for violation in error.violations)
                raise Refused(error) from failure
            log.warning("sell unclear", order_sn=order_sn, reason=error.reason, error=str(error))
            raise StockUnclear(str(error)) from failure

    def returned(self, order_sns: Sequence[str]) -> set[str]:
        """Those of these orders whose sale inventory says is RETURNED.

        Raises:
            Unavailable: Inventory can't be asked.
        """
        returned: set[str] = set()
        unread = order_sns
        while unread:  # each answer has a sale more at least
            try:
                answer = self._stub.BatchGetSales(pb.BatchGetSalesRequest(order_sns=unread), timeout=_TIMEOUT_S)
            except grpc.RpcError as failure:
                raise Unavailable(str(to_domain_error(failure))) from failure
            returned |= {sale.order_sn for sale in answer.sales if sale.state == pb.SALE_STATE_RETURNED}
            unread = answer.unread_order_sns
        return returned

    def reback(self, order_sn: str, reason: str) -> None:
        """Give an order's stock back; when this returns, its sale is RETURNED.

        Raises:
            StockUnclear: Inventory did not say so.
        """
        try:
            sale = self._stub.Reback(pb.RebackRequest(order_sn=order_sn, reason=reason), timeout=_TIMEOUT_S)
        except grpc.RpcError as failure:
            raise StockUnclear(str(to_domain_error(failure))) from failure
        if sale.state != pb.SALE_STATE_RETURNED:
            raise StockUnclear(f"the sale of {order_sn} is not returned")

    def _remember_short(self, skus: Iterable[str]) -> None:
        now = time.monotonic()
        until = dict.fromkeys(skus, now + _SHORT_FOR_S)
        # Replaced, not changed: other threads read it without a lock, and losing an entry costs one sell.
        self._short_until = {sku: end for sku, end in self._short_until.items() if end > now} | until


@dataclass(frozen=True, slots=True)
class _Look:
    """What one caller wants to know of inventory, and how long it waits."""

    skus: Sequence[str]
    deadline: Deadline


def _sale_lines(lines: Sequence[Line]) -> Iterator[pb.SaleLine]:
    """Lines as inventory takes them: a sum above its limit goes in several, never more than the caller's own lines."""
    for line in lines:
        left = line.quantity
        while left:
            quantity = min(left, _LARGEST_QUANTITY)
            yield pb.SaleLine(sku=line.sku, quantity=quantity)
            left -= quantity


def _no_stock(short: Mapping[str, int], asked: Mapping[str, int]) -> FailedPrecondition:
    """The refusal as inventory words it; `short` is what there is of each sku that is short."""
    violations = [
        Violation(sku, f"asked {asked[sku]}, available {available}", "NO_STOCK") for sku, available in short.items()
    ]
    first, available = next(iter(short.items()))
    return FailedPrecondition(
        f"{violations[0].subject}: {violations[0].description}",
        reason="NO_STOCK",
        metadata={"sku": first, "asked": str(asked[first]), "available": str(available)},
        violations=violations,
    )
