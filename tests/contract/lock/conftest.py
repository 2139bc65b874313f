from collections.abc import Iterator

import pytest

from common.lock.open import open_lock
from common.lock.port import Lock

DRIVERS = {"local": "local://"}


@pytest.fixture(params=DRIVERS)
def lock(request: pytest.FixtureRequest) -> Iterator[Lock]:
    """The driver under test; the suite runs once for each."""
    made = open_lock(DRIVERS[request.param])
    try:
        yield made
    finally:
        made.close()
