from collections.abc import Iterator

import pytest

from common.cache.port import Cache
from tests.support.caches import DRIVERS, Caches, own_caches
from tests.support.engines import REDIS_URL

collect_ignore_glob = [] if REDIS_URL else ["test_redis_*.py"]


@pytest.fixture(params=DRIVERS)
def driver(request: pytest.FixtureRequest) -> str:
    """The driver under test; the suite runs once for each."""
    name: str = request.param
    return name


@pytest.fixture
def caches(driver: str) -> Iterator[Caches]:
    with own_caches(driver) as made:
        yield made


@pytest.fixture
def cache(caches: Caches) -> Cache:
    """One replica's."""
    return caches.replicas[0]
