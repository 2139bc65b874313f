"""Where tests run: the engine of a database, the world of whole services; and how long the long tests are."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.databases import ENGINES, databases_on
from tests.support.long_form import LONG
from tests.support.worlds import FILE_BROKER_WORLDS, WORLDS, World, in_world


def pytest_report_header() -> str:
    return f"long tests: {'whole (REBACK_LONG=1)' if LONG else 'short (make long runs them whole)'}"


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Where the databases of this test's folder are; a test that uses it is run once for each engine."""
    with databases_on(request.param, tmp_path):
        yield request.param


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """What the services of the test's folder stand on; a test that uses it is run in each world."""
    with in_world(request.param, tmp_path) as made:
        yield made


@pytest.fixture(params=FILE_BROKER_WORLDS)
def timed_world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """As `world`, where time passes for the broker as a test says, and a test can look into it."""
    with in_world(request.param, tmp_path) as made:
        yield made
