"""Why a change or a read is refused.

NotFound             SkuNotFound, SaleNotFound
FailedPrecondition   NoStock, SaleReturned, StockLimit
AlreadyExists        DifferentContent
Aborted              VersionMismatch, StockBusy
ResourceExhausted    QueueFull
"""

from collections.abc import Iterable, Sequence

from common.errors import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    NotFound,
    ResourceExhausted,
    Violation,
)


class SkuNotFound(NotFound):
    """Nothing is known of these skus."""

    reason = "SKU_NOT_FOUND"

    def __init__(self, skus: Iterable[str]) -> None:
        unknown = sorted(skus)
        super().__init__(
            f"unknown sku {unknown[0]}" + _and_more(unknown),
            metadata={"sku": unknown[0]},
            violations=[Violation(sku, "unknown sku", self.reason) for sku in unknown],
        )


class SaleNotFound(NotFound):
    """The order has no sale here, and no tombstone."""

    reason = "SALE_NOT_FOUND"

    def __init__(self, order_sn: str) -> None:
        super().__init__(f"no sale of order {order_sn}", metadata={"order_sn": order_sn})


class NoStock(FailedPrecondition):
    """Fewer units can be sold than were asked for.

    Args:
        short: (sku, asked, available) of every sku that is short, at least one.
    """

    reason = "NO_STOCK"

    def __init__(self, short: Sequence[tuple[str, int, int]]) -> None:
        sku, asked, available = short[0]
        super().__init__(
            f"{asked} of {sku} asked, {available} available" + _and_more(short),
            metadata={"sku": sku, "asked": str(asked), "available": str(available)},
            violations=[
                Violation(sku, f"asked {asked}, available {available}", self.reason) for sku, asked, available in short
            ],
        )


class SaleReturned(FailedPrecondition):
    """The stock of the order was returned, or its reback came first: it can never sell again."""

    reason = "SALE_RETURNED"

    def __init__(self, order_sn: str) -> None:
        super().__init__(
            f"the stock of order {order_sn} was given back",
            metadata={"order_sn": order_sn},
            violations=[Violation(order_sn, "the stock of this order was given back", self.reason)],
        )


class StockLimit(FailedPrecondition):
    """More units would be available than a stock may have."""

    reason = "STOCK_LIMIT"

    def __init__(self, sku: str, units: int, limit: int) -> None:
        super().__init__(
            f"{units} available of {sku} would be more than {limit}",
            metadata={"sku": sku, "limit": str(limit)},
            violations=[Violation(sku, f"{units} available would be more than {limit}", self.reason)],
        )


class DifferentContent(AlreadyExists):
    """The same key was used with another content.

    Args:
        key: `order_sn` or `request_id`.
        value: The key's value.
    """

    reason = "DIFFERENT_CONTENT"

    def __init__(self, key: str, value: str) -> None:
        super().__init__(f"{key} {value} was used with another content", metadata={key: value})


class VersionMismatch(Aborted):
    """The stock changed since the caller read it."""

    reason = "VERSION_MISMATCH"

    def __init__(self, sku: str, expected: int, version: int) -> None:
        super().__init__(
            f"{sku} has version {version}, not {expected}",
            metadata={"sku": sku, "expected_version": str(expected), "version": str(version)},
        )


class StockBusy(Aborted):
    """The lock of a change's skus could not be acquired before the deadline."""

    reason = "STOCK_BUSY"

    def __init__(self, skus: int) -> None:
        super().__init__(f"could not lock {skus} skus before the deadline")


class QueueFull(ResourceExhausted):
    """Too many changes wait already."""

    reason = "STOCK_BUSY"

    def __init__(self, limit: int) -> None:
        super().__init__(f"{limit} changes of stock wait already")


def _and_more(all_of_them: Sequence[object]) -> str:
    more = len(all_of_them) - 1
    return f" (and {more} more)" if more else ""
