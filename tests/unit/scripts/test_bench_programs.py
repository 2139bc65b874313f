"""Each program of the benchmark explains itself, and refuses in a line what it does not know."""

import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROGRAMS = sorted(
    ".".join(file.relative_to(ROOT).with_suffix("").parts)
    for file in (ROOT / "scripts" / "bench").rglob("*.py")
    if 'if __name__ == "__main__":' in file.read_text(encoding="utf-8")
)


@pytest.fixture(params=PROGRAMS)
def program(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def exit_code(program: str, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    """Run it in this process, to its end."""
    monkeypatch.setattr(sys, "argv", [program, *arguments])
    monkeypatch.delitem(sys.modules, program, raising=False)  # else runpy warns that it is imported already
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(program, run_name="__main__")
    return ended.value.code


def test_these_are_the_programs() -> None:
    names = ("__main__", "locks", "report.plots", "simulate", "strategies.__main__", "strategies.server")
    assert [f"scripts.bench.{name}" for name in names] == PROGRAMS


def test_a_program_explains_itself(
    program: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(program, monkeypatch, "--help") == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("Usage: ")
    assert printed.err == ""


@pytest.mark.parametrize("wrong", [["--no-such-option"], ["no-such-file", "nor-this"]], ids="".join)
def test_a_program_refuses_what_it_does_not_know(
    program: str, wrong: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(program, monkeypatch, *wrong) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    [line] = printed.err.splitlines()
    assert wrong[0] in line or "Missing option '--redis'" in line
