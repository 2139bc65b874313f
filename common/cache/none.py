"""No cache: `none://`. Every read goes to the database."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from common.cache.port import UNKNOWN, Cache, Reading, Row
from common.driver_url import DriverUrl


class NoCacheUrl(DriverUrl):
    """Says that there is no cache."""

    form: ClassVar[str] = "none://"


class NoCache(Cache):
    """Finds nothing, keeps nothing."""

    def now(self) -> int:
        return UNKNOWN

    def read(self, keys: Sequence[str]) -> Reading:  # noqa: ARG002 the port's
        return Reading({}, UNKNOWN)

    def fill(self, rows: Mapping[str, Row], since: int) -> None:
        pass

    def change(self, rows: Mapping[str, Row], since: int) -> bool:  # noqa: ARG002 the port's
        return True  # nobody finds anything older here

    def close(self) -> None:
        pass


def open_none(_: NoCacheUrl) -> NoCache:
    return NoCache()
