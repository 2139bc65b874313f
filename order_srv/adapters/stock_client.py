"""What the order service needs of inventory."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeVar

import grpc
import structlog
from google.protobuf.message import Message

from common.deadline import Deadline
from common.errors import (
    DeadlineExceeded,
    DomainError,
    FailedPrecondition,
    InvalidArgument,
    ResourceExhausted,
    Unavailable,
    Violation,
)
from common.rpc.answer_check import Probe
from common.rpc.errors import to_domain_error
from order_srv.adapters.sell_results import (
    OrderToSell,
    Refused,
    SellResult,
    Sold,
    Unclear,
    read_error,
    read_results,
    read_sale,
)
from order_srv.adapters.sell_time_limit import SellTimeLimit
from order_srv.domain.new_order import MOST_LINES, MOST_ORDERS
from order_srv.domain.order import Line
from reback.inventory.v1 import inventory_pb2 as pb
from reback.inventory.v1.inventory_pb2_grpc import InventoryServiceStub

_SERVICE: Final = "/reback.inventory.v1.InventoryService"
SELLS: Final = (f"{_SERVICE}/Sell", f"{_SERVICE}/BatchSell")
"""Tried once, never repeated by the channel: a late repeat must not sell for an order that has failed by then."""

PROBE: Final = Probe(f"{_SERVICE}/BatchGetSales", pb.BatchGetSalesRequest(order_sns=["probe"]).SerializeToString())
"""Needs inventory's database, as a sell does; no order has this number."""

_MOST_BYTES: Final = 1_000_000  # of one request; longer than any of so many lines
_TIMEOUT_S: Final = 5.0  # for calls that no caller waits for
_RESCUE_TIMEOUT_S: Final = 0.5  # of the time that callers keep back for what follows a sell
_SHORT_FOR_S: Final = 1.0  # how long a sku that was short is looked at before it is asked for
_LOOK_TIMEOUT_S: Final = 1.0
_MOST_LOOKED_AT: Final = 1000  # skus at once, inventory's own limit
_LARGEST_QUANTITY: Final = 2**31 - 1  # of one line of a sell

Answer = TypeVar("Answer")

log = structlog.get_logger(__name__)


class StockUnclear(Exception):
    """Inventory may or may not have acted."""


class StockClient:
    """Sells and gives back through inventory's stub.

    Args:
        stub: On a channel that never repeats `SELLS`.
    """

    def __init__(self, stub: InventoryServiceStub) -> None:
        self._stub = stub
        self._time_limit = SellTimeLimit()
        self._short_until: dict[str, float] = {}

    def known_shortages(
        self, quantities_by_order: Mapping[str, Mapping[str, int]], deadline: Deadline
    ) -> dict[str, DomainError]:
        """The `NO_STOCK` of each order that inventory would refuse, an object of its own each. It never raises.

        A flash sale must not flood the broker with half messages. Only skus that were short a moment ago are looked
        at, for all orders at once and after the last of them came: a refusal is never older than its order, but for
        what inventory's own reads may lag behind.

        Args:
            quantities_by_order: The quantity of each sku, by order number.
            deadline: Of the callers; a look takes a second at most.
        """
        now, short_until = time.monotonic(), self._short_until
        asked = {sku for quantities in quantities_by_order.values() for sku in quantities}
        suspects = [sku for sku in asked if short_until.get(sku, 0.0) > now][:_MOST_LOOKED_AT]
        if not suspects:
            return {}
        try:
            timeout = min(_LOOK_TIMEOUT_S, deadline.remaining())
            answer = self._stub.BatchGetStocks(pb.BatchGetStocksRequest(skus=suspects), timeout=timeout)
        except grpc.RpcError:
            return {}  # the sell will tell
        available = {stock.sku: stock.available for stock in answer.stocks}
        shortages: dict[str, DomainError] = {}
        short_skus: set[str] = set()
        for order_sn, quantities in quantities_by_order.items():
            short = {sku: available[sku] for sku in quantities if available.get(sku, quantities[sku]) < quantities[sku]}
            if short:
                shortages[order_sn] = _no_stock(short, quantities)
                short_skus |= short.keys()
        if short_skus:
            self._remember_short(short_skus)
        return shortages

    def sell_all(self, orders: Sequence[OrderToSell], deadline: Deadline) -> dict[str, SellResult]:
        """Sell these orders, each all or nothing; each has a result of its own, by its number.

        Every sell is tried once, within a limit that follows what sells took lately. Before an order is told
        Unclear, inventory is asked once for its sale.

        Args:
            orders: Each with another number; at most `MOST_ORDERS`, with at most `MOST_LINES` lines in all.
            deadline: When this returns at the latest.
        """
        order_sns = [order.order_sn for order in orders]
        assert len(orders) <= MOST_ORDERS, f"{len(orders)} orders at once"
        assert len(set(order_sns)) == len(orders), "an order twice"
        assert sum(len(order.lines) for order in orders) <= MOST_LINES, "too many lines at once"
        sell = self._sell_batch if len(orders) > 1 else self._sell_one_by_one  # a lone Sell is the quicker one
        results = sell(orders, deadline)
        unclear = {order_sn: result.why for order_sn, result in results.items() if isinstance(result, Unclear)}
        for order_sn, why in unclear.items():
            log.warning("sell unclear", order_sn=order_sn, why=why)
        refusals = [result.error for result in results.values() if isinstance(result, Refused)]
        short = [each.subject for error in refusals if error.reason == "NO_STOCK" for each in error.violations]
        if short:
            self._remember_short(short)
        return results | dict.fromkeys(self._found_sold(list(unclear)), Sold())

    def _sell_batch(self, orders: Sequence[OrderToSell], deadline: Deadline) -> dict[str, SellResult]:
        request = pb.BatchSellRequest(sells=map(_sell_request, orders))
        assert request.ByteSize() <= _MOST_BYTES, "too many bytes at once"
        order_sns = [order.order_sn for order in orders]
        try:
            return read_results(order_sns, self._timed(self._stub.BatchSell, request, deadline))
        except grpc.RpcError as failure:
            error = to_domain_error(failure)
            if isinstance(error, InvalidArgument):  # nothing was taken; one of them is to blame, perhaps
                log.warning("batch of sells refused, each is sold alone", error=str(error))
                return self._sell_one_by_one(orders, deadline)
            if isinstance(error, ResourceExhausted):
                return {order_sn: read_error(error) for order_sn in order_sns}
            return dict.fromkeys(order_sns, Unclear(f"{error.reason}: {error}"))

    def _sell_one_by_one(self, orders: Sequence[OrderToSell], deadline: Deadline) -> dict[str, SellResult]:
        return {order.order_sn: self._sell_alone(order, deadline) for order in orders}

    def _sell_alone(self, order: OrderToSell, deadline: Deadline) -> SellResult:
        try:
            return read_sale(order.order_sn, self._timed(self._stub.Sell, _sell_request(order), deadline))
        except grpc.RpcError as failure:
            return read_error(to_domain_error(failure))

    def _timed(self, call: Callable[..., Answer], request: Message, deadline: Deadline) -> Answer:
        """Make a call within the limit of sells, which learns from it."""
        limit = self._time_limit.within(deadline.remaining())
        begun = time.monotonic()
        try:
            answer = call(request, timeout=limit)
        except grpc.RpcError as failure:
            if limit and isinstance(to_domain_error(failure), DeadlineExceeded):
                self._time_limit.add_expired(limit)
            raise
        self._time_limit.add(time.monotonic() - begun)
        return answer

    def _found_sold(self, order_sns: Sequence[str]) -> list[str]:
        """Those of these unclear orders that inventory says it sold. What it does not say proves nothing."""
        if not order_sns:
            return []
        try:
            answer = self._stub.BatchGetSales(pb.BatchGetSalesRequest(order_sns=order_sns), timeout=_RESCUE_TIMEOUT_S)
        except grpc.RpcError as failure:
            log.warning("unclear sells not looked up", error=str(to_domain_error(failure)))
            return []
        asked = set(order_sns)
        found = [s.order_sn for s in answer.sales if s.order_sn in asked and s.state == pb.SALE_STATE_SOLD]
        log.info("unclear sells looked up", asked=len(order_sns), sold=len(found))
        return found

    def returned(self, order_sns: Sequence[str]) -> set[str]:
        """Those of these orders whose sale inventory says is RETURNED.

        Raises:
            Unavailable: Inventory can't be asked, or reads no more of them.
        """
        returned: set[str] = set()
        unread = order_sns
        while unread:
            try:
                answer = self._stub.BatchGetSales(pb.BatchGetSalesRequest(order_sns=unread), timeout=_TIMEOUT_S)
            except grpc.RpcError as failure:
                raise Unavailable(str(to_domain_error(failure))) from failure
            returned |= {sale.order_sn for sale in answer.sales if sale.state == pb.SALE_STATE_RETURNED}
            if len(answer.unread_order_sns) >= len(unread):
                raise Unavailable(f"inventory read none of {len(unread)} sales")
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


def _sell_request(order: OrderToSell) -> pb.SellRequest:
    return pb.SellRequest(order_sn=order.order_sn, lines=_sale_lines(order.lines))


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
