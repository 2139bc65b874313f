from collections.abc import Iterator
from pathlib import Path

import pytest

from common.database import Database
from tests.contract.database.harness import Harness, SqliteHarness


@pytest.fixture(params=["sqlite"])
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    """The engine under test; the suite runs once for each."""
    made = SqliteHarness(tmp_path)
    yield made
    made.end()


@pytest.fixture
def database(harness: Harness) -> Database:
    return harness.open()
