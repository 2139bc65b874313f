"""The rules of what an order costs. Pure: no engine in sight."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from common.errors import FailedPrecondition, Violation
from order_srv.domain.order import Line

MAX_LINES = 100
MAX_TOTAL_CENTS = 2**53 - 1  # the largest number that every JSON reader keeps exactly


@dataclass(frozen=True, slots=True)
class Goods:
    """One entry of the price book; `price_cents` None: not for sale yet."""

    sku: str
    name: str
    image_url: str
    price_cents: int | None
    currency: str
    on_sale: bool
    create_time: datetime
    update_time: datetime


@dataclass(frozen=True, slots=True)
class Priced:
    """What an order will cost: lines by sku ascending, their total, and its currency."""

    lines: tuple[Line, ...]
    total_cents: int
    currency: str


class GoodsUnavailable(FailedPrecondition):
    """Goods that can't be ordered; every one is named with why."""

    reason = "GOODS_UNAVAILABLE"


class MixedCurrencies(FailedPrecondition):
    """One order, one currency."""

    reason = "MIXED_CURRENCIES"


class PriceChanged(FailedPrecondition):
    """The order would cost something else than the caller expects."""

    reason = "PRICE_CHANGED"


class NothingSelected(FailedPrecondition):
    """No lines were given and nothing in the cart is selected."""

    reason = "NOTHING_SELECTED"


class TooManyLines(FailedPrecondition):
    """More is selected in the cart than one order may have."""

    reason = "TOO_MANY_LINES"


class TotalTooLarge(FailedPrecondition):
    """The total does not fit."""

    reason = "TOTAL_TOO_LARGE"


def summed(lines: Iterable[tuple[str, int]]) -> dict[str, int]:
    """Sum the quantities of lines of the same sku; sorted by sku, byte by byte."""
    quantities: dict[str, int] = {}
    for sku, quantity in lines:
        quantities[sku] = quantities.get(sku, 0) + quantity
    return dict(sorted(quantities.items()))  # code points sort like UTF-8 bytes


def price(quantities: Mapping[str, int], goods: Mapping[str, Goods], expected_total_cents: int | None) -> Priced:
    """Price what is wanted, all or nothing.

    Args:
        quantities: Units of each sku, in the order of the lines.
        goods: The price book's entries for them; a missing one is not in the book.
        expected_total_cents: What the caller thinks it costs; None: anything.

    Raises:
        GoodsUnavailable: Some are not in the book, off sale or without a price.
        MixedCurrencies, TotalTooLarge, PriceChanged: As they say.
    """
    _all_available(quantities, goods)
    currencies = sorted({goods[sku].currency for sku in quantities})
    if len(currencies) > 1:
        raise MixedCurrencies(
            f"one order has one currency, not {', '.join(currencies)}",
            metadata={"currencies": ",".join(currencies)},
            violations=[Violation(sku, f"is sold in {goods[sku].currency}", "MIXED_CURRENCIES") for sku in quantities],
        )
    lines = tuple(
        Line(sku, goods[sku].name, goods[sku].price_cents or 0, quantity) for sku, quantity in quantities.items()
    )
    total = sum(line.price_cents * line.quantity for line in lines)
    if total > MAX_TOTAL_CENTS:
        raise TotalTooLarge(
            f"the total is more than {MAX_TOTAL_CENTS}",
            metadata={"total_cents": str(total), "limit_cents": str(MAX_TOTAL_CENTS)},
            violations=[Violation("total_cents", f"must be at most {MAX_TOTAL_CENTS}", "TOTAL_TOO_LARGE")],
        )
    if expected_total_cents is not None and expected_total_cents != total:
        raise PriceChanged(
            f"the order costs {total}, not {expected_total_cents}",
            metadata={"total_cents": str(total), "expected_total_cents": str(expected_total_cents)},
            violations=[Violation("expected_total_cents", f"the total is {total}", "PRICE_CHANGED")],
        )
    return Priced(lines, total, currencies[0])


def _all_available(quantities: Mapping[str, int], goods: Mapping[str, Goods]) -> None:
    violations = [
        Violation(sku, why, "GOODS_UNAVAILABLE")
        for sku in quantities
        if (why := _why_unavailable(goods.get(sku))) is not None
    ]
    if violations:
        raise GoodsUnavailable(
            "; ".join(f"{violation.subject} is {violation.description}" for violation in violations),
            violations=violations,
        )


def _why_unavailable(goods: Goods | None) -> str | None:
    if goods is None:
        return "not in the price book"
    if not goods.on_sale:
        return "off sale"
    if goods.price_cents is None:
        return "without a price"
    return None
