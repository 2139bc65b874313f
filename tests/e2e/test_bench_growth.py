"""The curves of growth and of memory, made short: they measure, balance, and draw."""

import json
from pathlib import Path

import pytest

from tests.e2e.test_bench import bench

PARTS = {
    "growthwaiting": ["CreateOrder, 1,000 others waiting", "sweep with nothing due, 1,000 orders waiting"],
    "memory": ["inventory_srv, resident, most in 400 calls", "order_srv, resident, most in 400 calls"],
}
PLOTS = {"growthwaiting": ["growth-waiting", "growth-sweep"], "memory": ["memory"]}


@pytest.mark.parametrize("part", PARTS)
def test_growth_and_memory_are_measured_on_balanced_books(tmp_path: Path, part: str) -> None:
    short = ("--seconds", "0.5", "--rounds", "1", "--skus", "10", "--largest", "1000", "--calls", "400")

    ended = bench(tmp_path, "--only", part, *short)

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "FAULTS" not in ended.stdout
    [folder] = (tmp_path / ".run" / "bench").iterdir()
    answer = json.loads((folder / "embedded.json").read_text())["parts"][part]
    figures = {figure["name"]: figure["value"]["median"] for figure in answer["figures"]}
    assert all(figures[name] > 0 for name in PARTS[part])
    assert all((folder / "embedded" / f"{plot}.svg").is_file() for plot in PLOTS[part])
