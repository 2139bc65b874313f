"""Numbers that come as text: a setting, a parameter of a URL, a port, a header. Plain ASCII decimals and nothing else.

Python's own `int` and `float` also take `1_000`, ` 5 `, `+5`, `٣`, `1e3` and `nan`, and raise an error of their own for
more than 4,300 digits.
"""

import re
from typing import Final

_WHOLE: Final = re.compile(r"0|[1-9][0-9]{0,17}")  # any of them fits into 64 bits
_DECIMAL: Final = re.compile(r"(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,6})?")  # to the microsecond


def whole_number(text: str) -> int:
    """A number from 0 to 10^18 - 1, written with digits alone and without a leading zero.

    Raises:
        ValueError: It is none.
    """
    if not _WHOLE.fullmatch(text):
        raise ValueError("not a whole number in plain digits")
    return int(text)


def decimal_number(text: str) -> float:
    """As `whole_number`, or with a point and up to six digits after it.

    Raises:
        ValueError: It is none.
    """
    if not _DECIMAL.fullmatch(text):
        raise ValueError("not a number in plain digits")
    return float(text)


def whole_number_or(text: str, otherwise: int) -> int:
    """As `whole_number`, for text that others wrote and that must not stop the work: `otherwise` where it is none."""
    return int(text) if _WHOLE.fullmatch(text) else otherwise
