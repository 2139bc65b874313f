import pytest

from common.currencies import is_currency, minor_units


@pytest.mark.parametrize(("code", "decimals"), [("EUR", 2), ("USD", 2), ("JPY", 0), ("KWD", 3), ("CLF", 4)])
def test_each_currency_has_its_own_number_of_decimals(code: str, decimals: int) -> None:
    assert is_currency(code)
    assert minor_units(code) == decimals


@pytest.mark.parametrize("code", ["ABC", "eur", "EUR ", "", "€", "978", "XAU", "XXX", "XTS"])
def test_what_nobody_can_be_charged_in_is_no_currency(code: str) -> None:
    assert not is_currency(code)
    with pytest.raises(ValueError, match="ISO 4217"):
        minor_units(code)
