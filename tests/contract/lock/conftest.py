from collections.abc import Iterator

import pytest

from common.lock.port import Lock
from tests.support.engines import REDIS_URL
from tests.support.locks import DRIVERS, own_lock

collect_ignore_glob = [] if REDIS_URL else ["test_redis_*.py"]


@pytest.fixture(params=DRIVERS)
def lock(request: pytest.FixtureRequest) -> Iterator[Lock]:
    """The driver under test; the suite runs once for each."""
    with own_lock(request.param) as made:
        yield made
