from collections.abc import Iterator
from pathlib import Path

import pytest

from inventory_srv.bootstrap import InventoryService
from tests.support.engines import CONSUL_URL, MYSQL_URL, REDIS_URL
from tests.support.services import running_inventory
from tests.support.worlds import HAS_CLUSTER, World

collect_ignore_glob = [
    *([] if REDIS_URL else ["test_redis_*.py"]),
    *([] if MYSQL_URL else ["test_mariadb_*.py"]),
    *([] if CONSUL_URL else ["test_consul_*.py"]),
    *([] if HAS_CLUSTER else ["test_cluster_*.py"]),
]


@pytest.fixture
def inventory(world: World, tmp_path: Path) -> Iterator[InventoryService]:
    """The inventory service in this process, in the world of the test's folder."""
    with running_inventory(tmp_path) as service:
        yield service
