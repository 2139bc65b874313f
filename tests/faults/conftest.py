from collections.abc import Iterator
from pathlib import Path

import pytest

from inventory_srv.bootstrap import InventoryService
from tests.services import running_inventory


@pytest.fixture
def inventory(tmp_path: Path) -> Iterator[InventoryService]:
    """The inventory service in this process, on the files of the test's folder."""
    with running_inventory(tmp_path) as service:
        yield service
