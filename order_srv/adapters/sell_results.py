"""What became of orders whose stock was asked for, read from inventory's answers.

inventory says                                                  the order is
a sale of this order, SOLD                                      Sold
FAILED_PRECONDITION, NOT_FOUND, INVALID_ARGUMENT,
ALREADY_EXISTS; RESOURCE_EXHAUSTED in its own words             Refused
anything else, nothing, or two things                           Unclear
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import structlog

from common.errors import (
    AlreadyExists,
    DomainError,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
)
from common.rpc.errors import from_status
from order_srv.domain.order import Line
from reback.inventory.v1 import inventory_pb2 as pb

_REFUSALS: Final = (FailedPrecondition, NotFound, InvalidArgument, AlreadyExists)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class OrderToSell:
    """An order whose stock is to be sold, all or nothing."""

    order_sn: str
    lines: Sequence[Line]


@dataclass(frozen=True, slots=True)
class Sold:
    """The stock is the order's."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Inventory took nothing and never will.

    Attributes:
        error: Says why. An object of its own for each order, so it may be raised in any thread.
    """

    error: DomainError


@dataclass(frozen=True, slots=True)
class Unclear:
    """Perhaps it sold, perhaps it still will.

    Attributes:
        why: For a person.
    """

    why: str


SellResult = Sold | Refused | Unclear


def read_sale(order_sn: str, sale: pb.Sale) -> Sold | Unclear:
    """Whether a sale says that this order has its stock."""
    if sale.order_sn == order_sn and sale.state == pb.SALE_STATE_SOLD:
        return Sold()
    return Unclear(f"inventory answered with the sale of {sale.order_sn!r} in state {sale.state}")


def read_error(error: DomainError) -> Refused | Unclear:
    """Whether an error says that inventory took nothing for an order, and never will."""
    if isinstance(error, _REFUSALS):
        return Refused(error)
    # gRPC has this code too, for one: an answer that is too large, which comes after the sell.
    if isinstance(error, ResourceExhausted) and error.domain == "inventory":
        return Refused(ResourceExhausted(f"inventory has too much to do: {error}", reason="OVERLOADED"))
    return Unclear(f"{error.reason}: {error}")


def read_results(order_sns: Sequence[str], answer: pb.BatchSellResponse) -> dict[str, SellResult]:
    """A result for each of these orders, by its number."""
    results: dict[str, SellResult] = dict.fromkeys(order_sns, Unclear("the answer leaves it out"))
    seen: set[str] = set()
    for result in answer.results:
        order_sn = result.order_sn
        if order_sn not in results:
            log.warning("sell result of an order that was not asked for", order_sn=order_sn)
            continue
        results[order_sn] = Unclear("the answer has it twice") if order_sn in seen else _read_result(result)
        seen.add(order_sn)
    return results


def _read_result(result: pb.SellResult) -> SellResult:
    match result.WhichOneof("outcome"):
        case "sale":
            return read_sale(result.order_sn, result.sale)
        case "error":
            return read_error(from_status(result.error))
        case _:
            return Unclear("the answer has a result for it that is not known here")
