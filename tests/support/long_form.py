"""How often the long tests repeat: a few rounds usually, all of them by `make long` (REBACK_LONG=1)."""

import os
from typing import Final

LONG: Final = os.environ.get("REBACK_LONG") == "1"


def rounds(short: int, long: int) -> int:
    """The number of rounds in the form that this run has."""
    return long if LONG else short
