"""The currencies of ISO 4217 and how many decimals each has.

Codes without minor units are left out: nobody is charged in gold (XAU), test money (XTS) or no currency (XXX).
"""

from typing import Final

from iso4217 import Currency

_MINOR_UNITS: Final = {currency.code: currency.exponent for currency in Currency if currency.exponent is not None}


def is_currency(code: str) -> bool:
    """Whether `code` is a currency of ISO 4217, in capital letters."""
    return code in _MINOR_UNITS


def minor_units(code: str) -> int:
    """How many decimals a currency has: EUR 2, JPY 0, KWD 3.

    Raises:
        ValueError: ISO 4217 has no such currency.
    """
    try:
        return _MINOR_UNITS[code]
    except KeyError:
        raise ValueError(f"{code!r} is not an ISO 4217 currency code") from None
