"""Times as every engine keeps them: microseconds since 1970."""

from datetime import UTC, datetime, timedelta

import peewee

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_micros(time: datetime) -> int:
    """Microseconds since 1970."""
    return (time - _EPOCH) // _MICROSECOND


def from_micros(micros: int) -> datetime:
    """The aware UTC datetime of so many microseconds since 1970."""
    return _EPOCH + micros * _MICROSECOND


class TimeField(peewee.BigIntegerField):
    """An aware UTC datetime, kept as microseconds since 1970, which sorts and compares on every engine."""

    def db_value(self, value: datetime | None) -> int | None:
        return None if value is None else to_micros(value)

    def python_value(self, value: int | None) -> datetime | None:
        return None if value is None else from_micros(value)
