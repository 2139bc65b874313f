"""Finds a Go that can build Consul, or lets an older Go download one.

Debian 12 has Go 1.19, too old for Consul. Newer releases of Go are modules of Go as well (`golang.org/toolchain`):
that is how Go 1.21 and later bring themselves the release that a project wants. An older Go can download that module
too, and checks it like any other; only the rest, which is to make its programs executable, is done here.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

from scripts.cluster.install.engine_cache import find_program
from scripts.cluster.install.packages import CannotInstall, Version, output

GO: Final[Version] = (1, 22)
NEWER_GO: Final = "1.22.12"
_PLACES: Final = ("usr/local/go/bin/go", "usr/lib/go-*/bin/go")  # Go's own, and where Debian puts several
_ITS_PROGRAMS: Final = ("bin/*", "pkg/tool/*/*")


def newest_go() -> str | None:
    """The path of the newest Go that is here."""
    places = [find_program("go"), *(str(found) for place in _PLACES for found in Path("/").glob(place))]
    versions = {place: go_version(place) for place in places if place}
    return max((place for place in versions if versions[place]), key=lambda place: versions[place], default=None)


def go_version(program: str) -> Version:
    """What this Go says that it is; empty: it is none."""
    found = re.search(r"\bgo(\d+)\.(\d+)", output([program, "version"]))
    return (int(found[1]), int(found[2])) if found else ()


def go_package() -> str:
    """The package of the newest Go that apt offers."""
    if find_program("apt-cache") is None:
        return "golang-go"
    names = ["golang-go", *(f"golang-1.{minor}-go" for minor in range(GO[1], GO[1] + 20))]
    offered = re.findall(
        r"^(golang\S*):\n.*\n\s+Candidate: (?:\d+:)?(\d+)\.(\d+)", output(["apt-cache", "policy", *names]), re.MULTILINE
    )
    versions = {name: (int(major), int(minor)) for name, major, minor in offered}
    return max(versions, key=lambda name: versions[name], default="golang-go")


def newer_go(old: str, folder: Path) -> str:
    """Let an older Go download a newer one.

    Args:
        old: The program of the older one.
        folder: Where the newer one is put.

    Returns:
        The path of its program.

    Raises:
        CannotInstall: It could not be downloaded, or does not run.
    """
    settings = {**os.environ, "GOFLAGS": ""}
    place = output([old, "env", "GOOS", "GOARCH"]).split()
    module = f"golang.org/toolchain@v0.0.1-go{NEWER_GO}.{'-'.join(place)}"
    folder.mkdir(parents=True, exist_ok=True)
    brought = subprocess.run(
        [old, "mod", "download", "-json", module],
        cwd=folder,  # outside of any module
        env=settings,
        capture_output=True,
        text=True,
        check=False,
    )
    if brought.returncode != 0:
        raise CannotInstall(
            f"Go {'.'.join(map(str, GO))} or newer has to build Consul, and the older one at {old} could not download "
            f"{module}:\n{brought.stdout}{brought.stderr}\n"
            "Put a newer one on PATH or into /usr/local/go (https://go.dev/doc/install), then call this again."
        )
    there = folder / "go"
    shutil.copytree(json.loads(brought.stdout)["Dir"], there, copy_function=shutil.copyfile)
    for file in [there, *there.rglob("*")]:
        if file.is_dir():
            file.chmod(0o755)
    for pattern in _ITS_PROGRAMS:
        for program in there.glob(pattern):
            program.chmod(0o755)
    if go_version(str(there / "bin" / "go")) < GO:
        raise CannotInstall(f"the Go that {old} brought does not run: {there}")
    return str(there / "bin" / "go")
