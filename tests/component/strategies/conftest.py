"""A shelf that ways of selling take from, on each engine that is there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.component.strategies.tables import Shelf, open_shelf
from tests.support.engines import REDIS_URL

collect_ignore = [] if REDIS_URL else ["test_ways_on_redis.py"]


@pytest.fixture
def shelf(engine: str, tmp_path: Path) -> Iterator[Shelf]:
    with open_shelf(tmp_path) as opened:
        yield opened
