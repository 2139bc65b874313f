"""Where the engines that no package manager installs are kept, and how the others are found."""

import hashlib
import os
import shutil
from pathlib import Path
from typing import Final

from scripts.cluster.program import CannotRun

ROCKETMQ_VERSION: Final = "5.4.0"
CONSUL_VERSION: Final = "1.19.2"

_ADMINS: Final = ("/usr/sbin", "/usr/local/sbin", "/sbin")  # Debian leaves these out of a user's PATH


def engines_folder() -> Path:
    """`$REBACK_ENGINES`, or a folder of the user's cache: shared by all checkouts, and kept by `make clean`."""
    named = os.environ.get("REBACK_ENGINES")
    if named:
        return Path(named).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "reback" / "engines"


def rocketmq_folder() -> Path:
    """The folder of RocketMQ's jars."""
    return engines_folder() / f"rocketmq-{ROCKETMQ_VERSION}"


def launcher_source() -> Path:
    """The source of what keeps RocketMQ on the loopback address."""
    return Path(__file__).parents[1] / "rocketmq" / "OnLoopback.java"


def launcher_folder() -> Path:
    """The folder of the same, compiled; another source, another folder."""
    return engines_folder() / f"rocketmq-launcher-{hashlib.sha256(launcher_source().read_bytes()).hexdigest()[:12]}"


def consul_program() -> Path:
    """Consul's program."""
    return engines_folder() / f"consul-{CONSUL_VERSION}" / "consul"


def find_program(*names: str) -> str | None:
    """The path of the first of these programs that is there."""
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *_ADMINS))
    return next((found for name in names if (found := shutil.which(name, path=path))), None)


def program(*names: str) -> str:
    """The path of the first of these programs that is there.

    Raises:
        CannotRun: There is none.
    """
    found = find_program(*names)
    if found is None:
        raise CannotRun(f"{names[0]} is not installed: `make cluster-install` installs it")
    return found


def of_java(name: str) -> str | None:
    """The path of a program of Java: of the one in `$JAVA_HOME`, or the one on PATH."""
    home = os.environ.get("JAVA_HOME")
    if home:
        return find_program(str(Path(home) / "bin" / name))
    return find_program(name)
