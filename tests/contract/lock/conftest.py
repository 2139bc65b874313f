from collections.abc import Iterator
from typing import Final
from uuid import uuid4

import pytest

from common.lock.open import open_lock
from common.lock.port import Lock
from tests.engines import REDIS_URL

DRIVERS: Final = {"local": "local://"} | ({"redis": REDIS_URL} if REDIS_URL else {})

collect_ignore_glob = [] if REDIS_URL else ["test_redis_*.py"]


@pytest.fixture(params=DRIVERS)
def lock(request: pytest.FixtureRequest) -> Iterator[Lock]:
    """The driver under test; the suite runs once for each."""
    url = DRIVERS[request.param]
    made = open_lock(f"{url}?prefix={uuid4().hex}:" if request.param == "redis" else url)
    try:
        yield made
    finally:
        made.close()
