"""Options of the benchmark that name what is not there, or do not go together."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts.bench.command import bench
from scripts.lib.command_line import WrongUsage


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"only": ["everything"]}, "--only everything: there is idle, commits, stock, "),
        ({"only": ["replicas"]}, "--only replicas: there is idle, "),  # it is the cluster's
        ({"replicas": 2}, "--replicas: only the cluster world has several"),
        ({"against": "HEAD", "only": ["growthskus", "stock"]}, "--against can't compare growthskus; it can stock, "),
        ({"against": "HEAD", "only": ["replicas"]}, "--only replicas: there is idle, "),
        ({"against": "HEAD", "publish": True}, "--publish: a comparison is not published"),
        ({"against": "HEAD", "world": "cluster", "replicas": 2}, "--replicas: "),
        ({"against": "HEAD", "against_python": Path("nowhere")}, "--against-python: there is no file nowhere"),
        ({"against_python": Path(sys.executable)}, "--against-python: there is no --against"),
    ],
)
def test_what_is_not_there_or_does_not_go_together_is_refused_before_anything_starts(
    options: dict[str, Any], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WrongUsage, match="^" + re.escape(why)):
        bench(**options)
    assert list(tmp_path.iterdir()) == []
