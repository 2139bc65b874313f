"""Brings what the cluster runs, and leaves alone what is there: packages by apt, RocketMQ by Maven, Consul by Go."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from scripts.cluster.install.engine_cache import (
    CONSUL_VERSION,
    ROCKETMQ_VERSION,
    consul_program,
    find_program,
    launcher_folder,
    launcher_source,
    of_java,
    rocketmq_folder,
)
from scripts.cluster.install.go_release import GO, NEWER_GO, go_package, go_version, newer_go, newest_go
from scripts.cluster.install.packages import CannotInstall, always_needed, apt_install, install, maven

_HERE: Final = Path(__file__).parents[1]
_LAST_LINES: Final = 30

Say = Callable[[str], None]


def install_all(say: Say) -> None:
    """Bring everything that is not there yet. Again is harmless, and takes no time.

    Raises:
        CannotInstall: Something can't be installed here; the text says what to do.
    """
    wants_rocketmq, wants_consul = not rocketmq_folder().is_dir(), not consul_program().is_file()
    install([*always_needed(), *([maven()] if wants_rocketmq else [])], say)
    if wants_rocketmq:
        _bring_rocketmq(say)
    if not launcher_folder().is_dir():
        _compile_launcher(say)
    if wants_consul:
        _bring_consul(say)


def _bring_rocketmq(say: Say) -> None:
    say(f"RocketMQ {ROCKETMQ_VERSION}: downloading its jars by Maven (94 MB, about a minute)")
    with _new_folder(rocketmq_folder()) as folder, _told(say, f"RocketMQ {ROCKETMQ_VERSION}"):
        _run(
            [
                find_program("mvn") or "mvn",
                "--batch-mode",
                "--quiet",
                f"--file={_HERE / 'rocketmq' / 'pom.xml'}",
                "dependency:copy-dependencies",
                f"-DoutputDirectory={folder}",
            ],
            _HERE,
        )


def _compile_launcher(say: Say) -> None:
    with (
        _new_folder(launcher_folder()) as folder,
        _told(say, "the launcher that keeps RocketMQ on the loopback address"),
    ):
        _run([of_java("javac") or "javac", "-d", str(folder), str(launcher_source())], _HERE)


def _bring_consul(say: Say) -> None:
    with _new_enough_go(say) as program:
        say(f"Consul {CONSUL_VERSION}: building it by Go, which takes several minutes; once for all checkouts")
        with _new_folder(consul_program().parent) as folder, _told(say, f"Consul {CONSUL_VERSION}"):
            _build_consul(program, folder)


def _build_consul(go_program: str, folder: Path) -> None:
    wanted = ["-mod=readonly", "-trimpath", "-o", str(folder / "consul"), "github.com/hashicorp/consul"]
    no_compiler_of_c = {"CGO_ENABLED": "0"}
    _run([go_program, "build", *wanted], _HERE / "consul", no_compiler_of_c)


@contextmanager
def _new_enough_go(say: Say) -> Iterator[str]:
    """A Go that can build Consul: the one that is there, one of the system's packages, or one that an older Go brings.

    Raises:
        CannotInstall: There is none.
    """
    if newest_go() is None:
        package = go_package()
        say(f"installing by apt: {package}")
        apt_install([package], ["Go, which builds Consul"])
    program = newest_go()
    if program is None:
        raise CannotInstall("there is a package of Go, but no program of it on PATH, in /usr/local/go or /usr/lib/go-*")
    if go_version(program) >= GO:
        yield program
        return
    with tempfile.TemporaryDirectory(prefix="reback-go-") as folder:
        say(f"this Go is older than {'.'.join(map(str, GO))}: it downloads Go {NEWER_GO}, for this build alone")
        yield newer_go(program, Path(folder))


@contextmanager
def _new_folder(wanted: Path) -> Iterator[Path]:
    """A folder that gets its name when all is in it: what was interrupted is not taken for finished."""
    wanted.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f"{wanted.name}.unfinished-", dir=wanted.parent))
    try:
        unfinished.chmod(0o755)
        yield unfinished
        try:
            unfinished.rename(wanted)
        except OSError:
            if not wanted.is_dir():  # another checkout was faster
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


@contextmanager
def _told(say: Say, what: str) -> Iterator[None]:
    began = time.monotonic()
    yield
    say(f"{what} is there ({time.monotonic() - began:.0f} s)")


def _run(command: Sequence[str], folder: Path, variables: Mapping[str, str] | None = None) -> None:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **(variables or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        words = "\n".join(done.stdout.splitlines()[-_LAST_LINES:])
        raise CannotInstall(f"{' '.join(command)} failed:\n{words}")
