"""What the frame promises: files that can be read, dependencies that are pinned, verbs that are explained."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("common", "inventory_srv", "order_srv", "scripts", "tests")
LONGEST_FILE = 400
LONGEST_FUNCTION = 45  # lines that fit a screen

VERBS = {"setup", "run", "demo", "test", "lint", "types", "proto", "bench", "clean", "help"}
CLUSTER_VERBS = {"test-cluster", *(f"cluster-{verb}" for verb in ("install", "up", "status", "logs", "down"))}


def sources() -> Iterator[Path]:
    for room in ROOMS:
        yield from (ROOT / room).rglob("*.py")


def test_no_file_is_too_long_to_read() -> None:
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in sources()}
    assert len(lengths) > 100
    assert {path: length for path, length in lengths.items() if length > LONGEST_FILE} == {}


def test_every_function_fits_a_screen() -> None:
    too_long = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in sources()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and (node.end_lineno or 0) - node.lineno >= LONGEST_FUNCTION
    ]
    assert too_long == []


def test_every_dependency_is_pinned_with_hashes_and_names_no_index() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    packages = re.split(r"^(?=\S)", lock, flags=re.MULTILINE)[1:]
    assert len(packages) > 50
    for package in packages:
        assert re.match(r"[a-z0-9-]+==\S+", package), package
        assert "--hash=sha256:" in package
    assert "://" not in lock
    assert "index" not in lock


def test_make_explains_every_verb() -> None:
    answer = subprocess.run(
        ["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert set(re.findall(r"^  make ([\w-]+) +\S", answer, flags=re.MULTILINE)) >= VERBS | CLUSTER_VERBS
