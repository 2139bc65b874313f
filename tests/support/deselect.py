"""A pytest plugin: deselects the tests that a file names, one node id a line.

`make test-cluster` deselects what can be collected without any engine: `make test` has run it.
"""

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--deselect-named", type=Path, help="a file with the node ids of tests to deselect")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    file: Path | None = config.getoption("--deselect-named")
    if file is None:
        return
    named = set(file.read_text(encoding="utf-8").splitlines())
    deselected = [item for item in items if item.nodeid in named]
    items[:] = [item for item in items if item.nodeid not in named]
    config.hook.pytest_deselected(items=deselected)
