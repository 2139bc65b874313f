"""The tables that strategies of selling share, on each engine that is there."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.component.strategies.tables import Tables, open_tables
from tests.support.engines import REDIS_URL

collect_ignore = [] if REDIS_URL else ["test_strategies_on_redis.py"]


@pytest.fixture
def tables(engine: str, tmp_path: Path) -> Iterator[Tables]:
    with open_tables(tmp_path) as opened:
        yield opened
