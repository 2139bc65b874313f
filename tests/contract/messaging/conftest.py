from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from tests.contract.messaging.harness import EmbeddedHarness, Harness

DRIVERS = ("embedded", "embedded asking again")


@pytest.fixture(params=DRIVERS)
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    """The driver under test; the suite runs once for each."""
    made = EmbeddedHarness(
        prefix=f"{uuid4().hex}.", folder=tmp_path, asks_again=request.param == "embedded asking again"
    )
    try:
        yield made
    finally:
        made.end()
