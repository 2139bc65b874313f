import pytest

from common.errors import AlreadyExists, DomainError, FailedPrecondition, InvalidArgument, NotFound, Violation
from order_srv.domain import refusal_codec

NO_STOCK = FailedPrecondition(
    "2 of tea asked, 1 available (and 1 more)",
    reason="NO_STOCK",
    metadata={"sku": "tea", "asked": "2", "available": "1"},
    violations=[
        Violation("tea", "asked 2, available 1", "NO_STOCK"),
        Violation('"jam" \\ ö 😀\n', "asked 9, available 0", "NO_STOCK"),
    ],
)
SKU_NOT_FOUND = NotFound(
    "unknown sku tea",
    reason="SKU_NOT_FOUND",
    metadata={"sku": "tea"},
    violations=[Violation("tea", "unknown sku", "SKU_NOT_FOUND")],
)


class NoStockOfOurs(FailedPrecondition):
    """As a refusal that is worded here rather than by inventory."""

    reason = "NO_STOCK"


@pytest.mark.parametrize("refusal", [NO_STOCK, SKU_NOT_FOUND, NoStockOfOurs("short", metadata={"sku": "tea"})])
def test_a_refusal_that_is_written_down_is_read_back_whole(refusal: DomainError) -> None:
    again = refusal_codec.load(refusal_codec.dump(refusal))
    kind = NotFound if isinstance(refusal, NotFound) else FailedPrecondition
    assert type(again) is kind
    assert (again.reason, again.message) == (refusal.reason, refusal.message)
    assert (again.metadata, again.violations) == (refusal.metadata, refusal.violations)
    assert str(again) == str(refusal)


@pytest.mark.parametrize(
    ("refusal", "business"),
    [
        (NO_STOCK, True),
        (SKU_NOT_FOUND, True),
        (FailedPrecondition("returned", reason="SALE_RETURNED"), False),
        (AlreadyExists("different"), False),
        (InvalidArgument("bad"), False),
        (InvalidArgument("bad", reason="NO_STOCK"), False),
    ],
)
def test_only_an_answer_for_good_is_told_again(refusal: DomainError, business: bool) -> None:
    assert refusal_codec.is_business(refusal) is business


def test_the_largest_refusal_fits_into_a_text_column_of_64_kilobytes() -> None:
    skus = [f"{number:03}" + "😀" * 61 for number in range(100)]
    violations = [Violation(sku, f"asked {100 * 2**31}, available {2**31}", "NO_STOCK") for sku in skus]
    metadata = {"sku": skus[0], "asked": str(100 * 2**31), "available": str(2**31)}
    refusal = FailedPrecondition("x" * 500, reason="NO_STOCK", metadata=metadata, violations=violations)
    written = refusal_codec.dump(refusal)
    assert len(written.encode()) < 2**16
    assert refusal_codec.load(written).violations == tuple(violations)
