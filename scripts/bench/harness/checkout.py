"""The two checkouts that are compared: this one, and another commit in a git worktree of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[3]
"""Of this checkout."""

WORKTREES: Final = Path(".cache") / "against"
"""Where the worktrees of other commits are, below `ROOT`."""

_PACKAGES: Final = ("common", "inventory_srv", "order_srv", "reback")
_IMPORT_PATHS: Final = (".", "proto")
_SHORT: Final = 12  # letters of a commit's id
_LAST_LINES: Final = 15

# A namespace package has no file of its own, but a folder.
_PROBE: Final = """
import importlib.util, json, platform, sys
from importlib.metadata import version
found = {name: importlib.util.find_spec(name) for name in sys.argv[1:]}
print(json.dumps({
    "packages": {name: spec and list(spec.submodule_search_locations)[0] for name, spec in found.items()},
    "python": platform.python_version(),
    "grpcio": version("grpcio"),
}))
"""


class CannotCompare(Exception):
    """There is nothing to compare with; the text says why, for a person."""


@dataclass(frozen=True)
class Checkout:
    """Code of the services, and the Python that runs it.

    Attributes:
        name: What this side is called: `new` or `old`; empty where nothing is compared.
        root: The folder of the checkout.
        python: The interpreter.
        commit: Which commit it is, and whether it was changed since.
    """

    name: str
    root: Path
    python: Path
    commit: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.commit})"

    @property
    def variables(self) -> Mapping[str, str]:
        """What a service's environment needs, so that it imports this checkout's code, whatever else is installed."""
        paths = [self.root / each for each in _IMPORT_PATHS]
        return {"PYTHONPATH": os.pathsep.join(str(path.resolve()) for path in paths if path.is_dir())}

    def probe(self, folder: Path) -> Mapping[str, object]:
        """Ask the Python which code a service that is started in `folder` imports.

        Returns:
            `packages`: the folder of each package of the services; `python` and `grpcio`: their versions.

        Raises:
            CannotCompare: It is not the code of this checkout, or some of it can't be found.
        """
        command = [str(self.python), "-c", _PROBE, *_PACKAGES]
        ended = _run(command, folder, {**os.environ, **self.variables})
        if ended.returncode:
            raise CannotCompare(f"{self}: {self.python} can't import the services:\n{_last_lines(ended.stderr)}")
        found: dict[str, object] = json.loads(ended.stdout)
        packages = found["packages"]
        assert isinstance(packages, dict)
        for name, where in packages.items():
            if where is None or not Path(where).resolve().is_relative_to(self.root.resolve()):
                raise CannotCompare(f"{self}: it would run {name} of {where}, not of {self.root}")
        return found


HERE: Final = Checkout("", ROOT, Path(sys.executable))
"""This checkout, where it is not compared with another one."""


def this_checkout() -> Checkout:
    """This checkout as a side of a comparison.

    Raises:
        CannotCompare: It is no git checkout.
    """
    commit = _git("rev-parse", f"--short={_SHORT}", "HEAD")
    changed = "-dirty" if _git("status", "--porcelain") else ""
    return Checkout("new", ROOT, Path(sys.executable), commit + changed)


def other_checkout(ref: str, python: Path | None, say: Callable[[str], None]) -> Checkout:
    """Another commit, in a worktree that is made where there is none yet.

    Args:
        ref: The commit: anything that git takes for one.
        python: An interpreter with all that the commit needs; None: the worktree's scripts/setup makes it.
        say: Called with a line before each long step.

    Raises:
        CannotCompare: There is no such commit, or it can't be set up.
    """
    commit = _commit_of(ref)
    root = _worktree(commit, say)
    return Checkout("old", root, python or _environment(root, commit, say), commit[:_SHORT])


def _commit_of(ref: str) -> str:
    _git("rev-parse", "--git-dir")
    try:
        return _git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    except CannotCompare:
        raise CannotCompare(f"--against {ref}: git knows no such commit") from None


def _worktree(commit: str, say: Callable[[str], None]) -> Path:
    folder = ROOT / WORKTREES / commit[:_SHORT]
    if folder.exists():
        # Asked in a folder that is no worktree any more, git would answer for the checkout around it.
        here = _git("rev-parse", "--show-toplevel", "HEAD", at=folder).splitlines()
        if here != [str(folder.resolve()), commit]:
            raise CannotCompare(f"{folder} is not a worktree of {commit[:_SHORT]}: {_removal(folder)}")
        if _git("status", "--porcelain", at=folder):
            raise CannotCompare(f"{folder} was changed, so it is not {commit[:_SHORT]}: {_removal(folder)}")
        return folder
    say(f"making a worktree of {commit[:_SHORT]}: {folder}")
    _git("worktree", "prune")  # of one whose folder was deleted
    _git("worktree", "add", "--quiet", "--detach", str(folder), commit)
    return folder


def _removal(folder: Path) -> str:
    return f"remove it (git worktree remove --force {folder.relative_to(ROOT)}, or delete the folder) and try again"


def _environment(root: Path, commit: str, say: Callable[[str], None]) -> Path:
    setup = root / "scripts" / "setup"
    if not setup.is_file():
        raise CannotCompare(f"{commit[:_SHORT]} has no scripts/setup: name a Python for it by --against-python")
    say(f"setting up {root.relative_to(ROOT)} (half a minute the first time)")
    ended = _run([str(setup)], root, {**os.environ, "PYTHON": sys.executable})
    if ended.returncode:
        lines = _last_lines(ended.stdout + ended.stderr)
        raise CannotCompare(f"{commit[:_SHORT]} can't be set up: {setup} failed:\n{lines}")
    return root / ".venv" / "bin" / "python"


def _git(*words: str, at: Path = ROOT) -> str:
    try:
        ended = _run(["git", *words], at, os.environ)
    except OSError as error:
        raise CannotCompare(f"comparing needs git: {error}") from error
    if ended.returncode:
        raise CannotCompare(f"git {words[0]} failed in {at}: {_last_lines(ended.stderr).strip()}")
    return ended.stdout.strip()


def _run(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def _last_lines(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.splitlines()[-_LAST_LINES:])
