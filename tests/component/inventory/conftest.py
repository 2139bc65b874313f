from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from common.lock.port import Lock
from tests.component.inventory.in_process import RunningService, running_service
from tests.component.inventory.shop import FOR_LONG, Hold, Shop, open_shop
from tests.support.engines import MYSQL_URL
from tests.support.locks import DRIVERS, own_lock

# Without a server there is nothing that it could be skipped for.
collect_ignore = [] if MYSQL_URL else ["test_late_packet.py"]


@pytest.fixture(scope="session", autouse=True)
def plain_logs() -> None:
    """The default rendering of a traceback takes longer than most tests."""
    structlog.configure(processors=[structlog.processors.format_exc_info, structlog.processors.KeyValueRenderer()])


@pytest.fixture
def hold() -> Iterator[Hold]:
    """Holds the writer of `shop`, or of `running`, where a test wants it."""
    made = Hold()
    yield made
    made.let_go()


@pytest.fixture(params=DRIVERS)
def lock(request: pytest.FixtureRequest) -> Iterator[Lock]:
    """The stock lock of every driver."""
    with own_lock(request.param) as made:
        yield made


@pytest.fixture
def shop(engine: str, tmp_path: Path, hold: Hold) -> Iterator[Shop]:
    with open_shop(tmp_path / "inventory.db", crash_hook=hold.crash_hook) as opened:
        yield opened
        hold.let_go()


@pytest.fixture
def keeping_shop(engine: str, tmp_path: Path, lock: Lock, hold: Hold) -> Iterator[Shop]:
    """Keeps its lock as long as nobody else wants it."""
    with open_shop(tmp_path / "inventory.db", lock=lock, crash_hook=hold.crash_hook, keep_lock=FOR_LONG) as opened:
        opened.stock_up(tea=5, mug=5)
        yield opened


@pytest.fixture
def running(engine: str, tmp_path: Path, hold: Hold) -> Iterator[RunningService]:
    """The whole service in this process, over real gRPC."""
    with running_service(tmp_path, crash_hook=hold.crash_hook) as opened:
        yield opened
        hold.let_go()
