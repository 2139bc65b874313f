from datetime import UTC, datetime

import pytest

from common.errors import FailedPrecondition, Violation
from order_srv.domain.order import Line
from order_srv.domain.pricing import (
    MAX_TOTAL_CENTS,
    Goods,
    GoodsUnavailable,
    MixedCurrencies,
    PriceChanged,
    TotalTooLarge,
    price,
    summed,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def goods(sku: str, price_cents: int | None = 100, *, currency: str = "EUR", on_sale: bool = True) -> Goods:
    return Goods(sku, f"name of {sku}", "", price_cents, currency, on_sale, NOW, NOW)


def book(*entries: Goods) -> dict[str, Goods]:
    return {entry.sku: entry for entry in entries}


def test_lines_of_the_same_sku_are_summed() -> None:
    assert summed([("tea", 2), ("jam", 1), ("tea", 3)]) == {"jam": 1, "tea": 5}


def test_lines_are_sorted_byte_by_byte() -> None:
    skus = ["b", "ä", "a", "Z", "z", "😀", "￿", "10", "9"]
    assert list(summed((sku, 1) for sku in skus)) == sorted(skus, key=lambda sku: sku.encode())


def test_quantities_that_sum_beyond_64_bits_stay_exact() -> None:
    most = 2**31 - 1
    assert summed([("tea", most)] * 100) == {"tea": 100 * most}


def test_an_order_costs_the_sum_of_its_lines() -> None:
    priced = price({"jam": 2, "tea": 3}, book(goods("tea", 250), goods("jam", 99)), None)
    assert priced.lines == (Line("jam", "name of jam", 99, 2), Line("tea", "name of tea", 250, 3))
    assert (priced.total_cents, priced.currency) == (2 * 99 + 3 * 250, "EUR")


def test_goods_for_nothing_can_be_ordered() -> None:
    assert price({"tea": 3}, book(goods("tea", 0)), 0).total_cents == 0


def test_every_sku_that_can_not_be_ordered_is_named_with_why() -> None:
    entries = book(goods("fine"), goods("off", on_sale=False), goods("free?", None), goods("both", None, on_sale=False))
    with pytest.raises(GoodsUnavailable) as refused:
        price(dict.fromkeys(["both", "fine", "free?", "gone", "off"], 1), entries, None)
    assert refused.value.violations == (
        Violation("both", "off sale", "GOODS_UNAVAILABLE"),
        Violation("free?", "without a price", "GOODS_UNAVAILABLE"),
        Violation("gone", "not in the price book", "GOODS_UNAVAILABLE"),
        Violation("off", "off sale", "GOODS_UNAVAILABLE"),
    )


def test_one_order_has_one_currency() -> None:
    entries = book(goods("a"), goods("b", currency="USD"), goods("c", currency="JPY"))
    with pytest.raises(MixedCurrencies) as refused:
        price({"a": 1, "b": 1, "c": 1}, entries, None)
    assert refused.value.metadata == {"currencies": "EUR,JPY,USD"}
    assert [each.subject for each in refused.value.violations] == ["a", "b", "c"]


def test_a_total_has_a_limit() -> None:
    at_the_limit = price({"a": 1}, book(goods("a", MAX_TOTAL_CENTS)), None)
    assert at_the_limit.total_cents == MAX_TOTAL_CENTS
    with pytest.raises(TotalTooLarge) as refused:
        price({"a": 1, "b": 1}, book(goods("a", MAX_TOTAL_CENTS), goods("b", 1)), None)
    assert refused.value.metadata == {
        "total_cents": str(MAX_TOTAL_CENTS + 1),
        "limit_cents": str(MAX_TOTAL_CENTS),
    }


def test_the_largest_order_overflows_nothing() -> None:
    entries = book(*(goods(f"sku{number}", 10**11) for number in range(100)))
    with pytest.raises(TotalTooLarge):
        price(dict.fromkeys(sorted(entries), 100 * (2**31 - 1)), entries, None)


@pytest.mark.parametrize("expected", [0, 199, 201])
def test_another_total_than_expected_is_refused_with_the_right_one(expected: int) -> None:
    with pytest.raises(PriceChanged) as refused:
        price({"a": 2}, book(goods("a")), expected)
    assert refused.value.metadata == {"total_cents": "200", "expected_total_cents": str(expected)}


def test_the_total_that_is_expected_passes() -> None:
    assert price({"a": 2}, book(goods("a")), 200).total_cents == 200


def test_what_can_not_be_ordered_is_told_before_its_price() -> None:
    with pytest.raises(GoodsUnavailable):
        price({"a": 1, "b": 1}, book(goods("b", currency="USD")), 5)


def test_every_refusal_has_its_reason() -> None:
    kinds: list[type[FailedPrecondition]] = [GoodsUnavailable, MixedCurrencies, PriceChanged, TotalTooLarge]
    assert [kind.reason for kind in kinds] == [
        "GOODS_UNAVAILABLE",
        "MIXED_CURRENCIES",
        "PRICE_CHANGED",
        "TOTAL_TOO_LARGE",
    ]
