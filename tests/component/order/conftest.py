from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.databases import ENGINES, databases_on
from tests.support.engines import MYSQL_URL
from tests.support.holds import Holds
from tests.support.services import Services, running_services

Open = Callable[..., Services]

collect_ignore = [] if MYSQL_URL else ["test_rows_read.py"]


@pytest.fixture(scope="module", params=ENGINES)
def shop_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for the tests of a file, which are run once for each engine that its databases can be on."""
    folder = tmp_path_factory.mktemp("shop")
    with databases_on(request.param, folder):
        yield folder


@pytest.fixture(scope="module")
def services(shop_folder: Path) -> Iterator[Services]:
    """Both services, shared by the tests of a file, each with its own users and skus; the books balance at the end.

    A file that uses it can't use `open_services`.
    """
    never_asks = f"embedded:///{shop_folder}/broker.db?check_after=600"
    with running_services(shop_folder, {"broker_url": never_asks}) as shared:
        yield shared
        shared.assert_books_balance()


@pytest.fixture
def open_services(engine: str, tmp_path: Path, holds: Holds) -> Iterator[Open]:
    """Opens both services for one test: `open_services(settings, **parts)`; at its end whoever is held goes on."""
    with ExitStack() as stack:

        def start(settings: dict[str, Any] | None = None, **parts: Any) -> Services:
            return stack.enter_context(running_services(tmp_path, settings, **{"crash_hook": holds, **parts}))

        yield start
        holds.release_all()


@pytest.fixture
def holds() -> Holds:
    """Where the services of `open_services` are held."""
    return Holds()


@pytest.fixture
def callers() -> Iterator[ThreadPoolExecutor]:
    """Threads to call from."""
    with ThreadPoolExecutor(64) as pool:
        yield pool
