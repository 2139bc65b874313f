from collections.abc import Iterator
from pathlib import Path

import pytest

from inventory_srv.bootstrap import InventoryService
from tests.engines import REDIS_URL
from tests.services import running_inventory
from tests.worlds import FILE_BROKER_WORLDS, WORLDS, World, in_world

collect_ignore_glob = [] if REDIS_URL else ["test_redis_*.py"]


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


@pytest.fixture
def inventory(world: World, tmp_path: Path) -> Iterator[InventoryService]:
    """The inventory service in this process, in the world of the test's folder."""
    with running_inventory(tmp_path) as service:
        yield service
