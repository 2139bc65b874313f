"""Order numbers: ULIDs. They sort by time to the millisecond, and nobody can guess one from another."""

from datetime import UTC, datetime, timedelta
from typing import Final

from ulid import PureRandomPolicy, ULIDGenerator

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)

# The library's default counts up within a millisecond: the next customer's number would be one's own plus one.
_NUMBERS: Final = ULIDGenerator(policy=PureRandomPolicy())


def new_order_sn(now: datetime) -> str:
    """Make an order number of 26 characters: 48 bits of time, 80 random bits."""
    return str(_NUMBERS.generate((now - _EPOCH) // _MILLISECOND))
