"""The check that keeps words out which the glossary has replaced."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A repository with the check and a list of one word."""
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "check-words", tmp_path / "scripts")
    (tmp_path / "scripts" / "words.tsv").write_text("# a comment\nfoo|foos\tbar\n")
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    return tmp_path


def check(checkout: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([checkout / "scripts" / "check-words"], capture_output=True, text=True, check=False)


def test_a_replaced_word_is_named_with_its_place_and_the_better_one(checkout: Path) -> None:
    (checkout / "page.md").write_text("All is well.\nTwo Foos, side by side.\n")
    checked = check(checkout)
    assert checked.returncode == 1
    assert "page.md:2:Two Foos, side by side." in checked.stdout
    assert "instead of /foo|foos/ write: bar" in checked.stdout


def test_a_part_of_another_word_and_the_list_itself_pass(checkout: Path) -> None:
    (checkout / "page.md").write_text("food, foolish\n")
    assert check(checkout).returncode == 0


def test_every_listed_word_has_a_better_one() -> None:
    lines = (ROOT / "scripts" / "words.tsv").read_text().splitlines()
    rules = [line.split("\t") for line in lines if line and not line.startswith("#")]
    assert rules
    assert [rule for rule in rules if len(rule) != 2 or not all(rule)] == []
