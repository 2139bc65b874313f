"""`scripts/test` and `scripts/test-cluster`: what they refuse, and that a suite is collected alone."""

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[3]
RUNNERS: Final = ["scripts/test", "scripts/test-cluster"]
SUITES: Final = ["unit", "contract", "component", "e2e", "faults"]

# Prints the packages of tests that are imported once a suite is collected.
COLLECT: Final = """
import sys, pytest
code = pytest.main(["--collect-only", "--quiet", "--quiet", sys.argv[1]])
print({name.split(".")[1] for name in sys.modules if name.startswith("tests.")})
sys.exit(code)
"""


def run(*command: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("runner", RUNNERS)
def test_a_runner_explains_itself(runner: str) -> None:
    answer = run(runner, "--help")
    assert (answer.returncode, answer.stderr) == (0, "")
    assert f"usage: {runner} [SUITE...]" in answer.stdout


@pytest.mark.parametrize("runner", RUNNERS)
@pytest.mark.parametrize("argument", ["nonsense", "--frobnicate", "tests/unit"])
def test_an_unknown_suite_or_option_is_refused_before_anything_runs(runner: str, argument: str) -> None:
    answer = run(runner, "contract", argument)
    assert (answer.returncode, answer.stdout) == (2, "")
    assert answer.stderr.count("\n") == 1
    assert argument in answer.stderr


@pytest.mark.parametrize("runner", RUNNERS)
def test_the_refusal_of_an_unknown_suite_lists_those_there_are(runner: str) -> None:
    there_are = SUITES if runner == "scripts/test" else SUITES[1:]
    assert run(runner, "nonsense").stderr.endswith(f"there are: {' '.join(there_are)}\n")


def test_every_suite_is_a_folder_of_tests() -> None:
    folders = {file.relative_to(ROOT / "tests").parts[0] for file in (ROOT / "tests").rglob("test_*.py")}
    assert folders == set(SUITES)


@pytest.mark.parametrize("suite", SUITES)
def test_a_suite_is_collected_without_importing_another(suite: str) -> None:
    answer = run(sys.executable, "-c", COLLECT, f"tests/{suite}")
    assert answer.returncode == 0, answer.stdout
    imported = answer.stdout.splitlines()[-1]
    assert not [other for other in SUITES if other != suite and repr(other) in imported], imported
