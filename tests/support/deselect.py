"""A pytest plugin: leaves out the tests that a file names, one node id a line.

`make test-cluster` so leaves out what is there without any engine: `make test` has run it.
"""

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--leave-out", type=Path, help="a file with the node ids of tests to leave out")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    file: Path | None = config.getoption("--leave-out")
    if file is None:
        return
    named = set(file.read_text(encoding="utf-8").splitlines())
    left_out = [item for item in items if item.nodeid in named]
    items[:] = [item for item in items if item.nodeid not in named]
    config.hook.pytest_deselected(items=left_out)
