from collections.abc import Iterator
from pathlib import Path

import pytest

from common.database import Database
from tests.contract.database.harness import Harness, MysqlHarness, make_harness
from tests.support.databases import ENGINES
from tests.support.engines import MYSQL_URL


@pytest.fixture(params=ENGINES)
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    """The engine under test; the suite runs once for each."""
    made = make_harness(request.param, tmp_path)
    yield made
    made.end()


@pytest.fixture
def mysql_harness() -> Iterator[MysqlHarness]:
    """The server alone, for what only it does."""
    made = MysqlHarness(MYSQL_URL)
    yield made
    made.end()


@pytest.fixture
def database(harness: Harness) -> Database:
    return harness.open()


# Without a server there is nothing that these could be skipped for.
collect_ignore_glob = [] if MYSQL_URL else ["test_mysql*.py"]
