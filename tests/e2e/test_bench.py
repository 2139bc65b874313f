"""`make bench`, made short: real processes, the books checked, and nothing left behind but its report."""

import json
import subprocess
import sys
from pathlib import Path

PATIENCE_S = 110


def bench(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "scripts.bench", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_a_short_run_measures_checks_the_books_and_writes_what_it_saw(tmp_path: Path) -> None:
    parts = ("--only", "stock", "--only", "create", "--only", "due", "--only", "idle")
    short = ("--seconds", "0.5", "--rounds", "1", "--skus", "20", "--due-orders", "30", "--processes", "2")
    ended = bench(tmp_path, *parts, *short)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count("books balance:") == 4
    assert "FAULTS" not in ended.stdout
    [report] = (tmp_path / ".run" / "bench").iterdir()
    assert report.name in ended.stdout
    told = json.loads(report.read_text())
    assert told["book_faults"] == []
    assert told["machine"]["cores"] >= 1
    assert told["options"]["due_orders"] == 30
    figures = {figure["name"]: figure for figure in told["figures"]}
    assert figures["all orders closed after"]["samples"] == 30
    assert figures["all orders closed after"]["value"] > 0
    for name in ("empty call", "Sell, one hot sku", "Sell, 20 skus", "CreateOrder"):
        assert figures[name]["value"] > 0
        assert figures[name]["samples"] > 0
        assert 0 < figures[f"{name}, p50"]["value"] <= figures[f"{name}, p99"]["value"]


def test_a_part_that_there_is_not_is_told(tmp_path: Path) -> None:
    ended = bench(tmp_path, "--only", "everything")
    assert ended.returncode == 2
    assert "idle, stock, create, lateness, due" in " ".join(ended.stderr.replace("│", " ").split())
    assert not (tmp_path / ".run").exists()
