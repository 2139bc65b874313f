"""`python -m scripts.bench --against`: two commits of a clone of this checkout, each of which says which one it is."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 200
SHORT = ("--only", "alone", "--seconds", "0.5", "--rounds", "2", "--skus", "3")
PROOF = "BENCH_TEST_PROOF"


def git(clone: Path, *words: str) -> str:
    identity = ("-c", "user.name=Bench", "-c", "user.email=bench@example.com")
    command = ["git", *identity, *words]
    return subprocess.run(command, cwd=clone, capture_output=True, text=True, check=True).stdout.strip()


def plant(file: Path, line: str) -> None:
    """Put a line where each start of a service comes by once: before it calls its `main`."""
    before, call, after = file.read_text(encoding="utf-8").rpartition("\nif __name__ ==")
    assert call
    file.write_text(f"{before}\n{line}\n{call}{after}", encoding="utf-8")


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three commits: one whose services note `first`, one that does not start, one whose services note `second`."""
    clone = tmp_path_factory.mktemp("clone") / "it"
    git(ROOT, "clone", "--quiet", "--no-hardlinks", str(ROOT), str(clone))
    for file in git(ROOT, "ls-files", "--modified", "--others", "--exclude-standard").splitlines():
        if (ROOT / file).is_file():  # what is not committed yet is tried too
            (clone / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, clone / file)
    mains = [clone / name / "__main__.py" for name in ("inventory_srv", "order_srv")]
    originals = [main.read_text(encoding="utf-8") for main in mains]
    for text in ("first", "broken", "second"):
        for main, original in zip(mains, originals, strict=True):
            main.write_text(original, encoding="utf-8")
            line = f"import os; open(os.environ['{PROOF}'], 'a').write('{text} {main.parent.name}\\n')"
            plant(main, "raise SystemExit('planted: it does not start')" if text == "broken" else line)
        git(clone, "add", "--all")
        git(clone, "commit", "--quiet", "--message", text)
    return clone


def bench(clone: Path, *arguments: str, proof: Path | None = None) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "scripts.bench", *arguments]
    environment = {**os.environ, PROOF: str(proof or os.devnull)}
    return subprocess.run(
        command, cwd=clone, env=environment, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
    )


@pytest.mark.timeout(300)
def test_two_commits_are_measured_in_turns_and_each_side_runs_its_own_code(clone: Path, tmp_path: Path) -> None:
    proof = tmp_path / "proof"
    ended = bench(clone, "--against", "HEAD~2", "--against-python", sys.executable, *SHORT, proof=proof)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    services = ["inventory_srv", "inventory_srv", "order_srv"]  # `alone` has two inventories, one with other settings
    started = [f"{commit} {service}" for commit in ("first", "second") for service in services]
    assert sorted(proof.read_text().splitlines()) == started
    turns = [line.split(":")[0].split() for line in ended.stdout.splitlines() if ": books balance" in line]
    assert turns == [["old", "round", "1"], ["new", "round", "1"], ["new", "round", "2"], ["old", "round", "2"]]

    [folder] = (clone / ".run" / "bench").iterdir()
    assert folder.name.endswith(f"-against-{git(clone, 'rev-parse', 'HEAD~2')[:12]}")
    report = json.loads((folder / "embedded.json").read_text())
    worktree = clone / ".cache" / "against" / git(clone, "rev-parse", "HEAD~2")[:12]
    assert report["sides"]["old"]["packages"]["order_srv"] == str(worktree / "order_srv")
    assert report["sides"]["new"]["packages"]["order_srv"] == str(clone / "order_srv")
    compared = report["parts"]["alone"]["compared"]
    assert compared["faults"] == []
    loads = {load["name"]: load for load in compared["loads"]}
    assert set(loads) == {"Sell, one caller", "Sell, one caller, INVENTORY_BATCH=1"}
    for load in loads.values():
        assert len(load["ratios"]["rate"]["values"]) == 2
        for side in ("old", "new"):
            assert load[side]["rate"]["median"] > 0
            assert load[side]["cpu"]["inventory_srv"]["median"] > 0
    assert "| Sell, one caller |" in (folder / "embedded.md").read_text()
    assert not (clone / "docs" / "benchmarks" / folder.name).exists()


@pytest.mark.timeout(300)
def test_a_side_that_does_not_start_is_named_with_the_last_lines_of_its_log(clone: Path) -> None:
    ended = bench(clone, "--against", "HEAD~1", "--against-python", sys.executable, *SHORT)
    assert ended.returncode == 1
    commit = git(clone, "rev-parse", "HEAD~1")[:12]
    printed = " ".join(ended.stdout.split())
    assert f"old ({commit}): inventory_srv did not start" in printed
    assert "planted: it does not start" in printed
    assert "not measured: alone" in printed


def test_a_commit_that_git_does_not_know_is_one_line(clone: Path) -> None:
    ended = bench(clone, "--against", "no-such-commit")
    assert (ended.returncode, ended.stderr) == (2, "--against no-such-commit: git knows no such commit\n")
