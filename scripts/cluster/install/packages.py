"""Which packages of the system the cluster needs, and how they are installed: by apt, and without starting anything.

A package of a database usually starts a server of its own, now and after each boot. Here neither happens: Debian's
`policy-rc.d` forbids it while they are installed, and their units are disabled afterwards.
"""

import os
import re
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scripts.cluster.install.engine_cache import find_program, of_java

Version = tuple[int, ...]

JAVA: Final[Version] = (17,)
REDIS: Final[Version] = (6, 2)  # `set-proc-title`

_POLICY: Final = Path("/usr/sbin/policy-rc.d")
_START_NOTHING: Final = "#!/bin/sh\nexit 101\n"
_UNIT_FOLDERS: Final = (Path("/lib/systemd/system"), Path("/usr/lib/systemd/system"))
_UNITS: Final = ("mariadb.service", "redis-server.service", "redis-sentinel.service")


class CannotInstall(Exception):
    """Something can't be installed here; the text says what it is and what to do."""


@dataclass(frozen=True, slots=True)
class Need:
    """A program that has to be there.

    Attributes:
        what: As people call it.
        package: The Debian package that has it.
        there: Whether it is there, and new enough.
    """

    what: str
    package: str
    there: Callable[[], bool]


def always_needed() -> Sequence[Need]:
    """What the engines are, or run on."""
    return (
        Need("MariaDB", "mariadb-server-core", lambda: _all_there("mariadbd", "mariadb-install-db")),
        # mariadb-install-db calls it, and Debian's package of the one does not ask for that of the other.
        Need("MariaDB's my_print_defaults", "mariadb-client-core", lambda: _all_there("my_print_defaults")),
        Need(f"Redis {_text(REDIS)} or newer", "redis-server", lambda: _at_least("redis-server", REDIS)),
        Need("Redis Sentinel", "redis-sentinel", lambda: _all_there("redis-sentinel")),
        Need(f"a JDK of Java {_text(JAVA)} or newer", "default-jdk-headless", has_jdk),
    )


def maven() -> Need:
    """The packages that RocketMQ needs."""
    return Need("Maven", "maven", lambda: _all_there("mvn"))


def install(needs: Sequence[Need], say: Callable[[str], None]) -> None:
    """Bring what is not there.

    Raises:
        CannotInstall: There is no apt, nobody may use it, or it failed.
    """
    missing = [each for each in needs if not each.there()]
    if not missing:
        return
    say(f"installing by apt: {', '.join(each.package for each in missing)}")
    apt_install([each.package for each in missing], [each.what for each in missing])
    still = [each for each in missing if not each.there()]
    if still:
        raise CannotInstall(
            f"{', '.join(each.package for each in still)} did not install {', '.join(each.what for each in still)}: "
            "an older one seems to come first on PATH, or in JAVA_HOME"
        )


def apt_install(packages: Sequence[str], wanted: Sequence[str]) -> None:
    """Install packages; `wanted` says, for people, what for."""
    if find_program("apt-get") is None:
        raise CannotInstall(
            f"{', '.join(wanted)}: not here, and there is no apt-get to install it (packages {', '.join(packages)}). "
            "Install it with this system's own package manager, then call this again."
        )
    root = _become_root(wanted, packages)
    had_policy = _POLICY.exists()
    units_before = _known_units()
    try:
        if not had_policy:
            _run([*root, "sh", "-c", f"printf '{_START_NOTHING}' >{_POLICY} && chmod 755 {_POLICY}"])
        apt = [*root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120"]
        _run([*apt, "update"])
        _run([*apt, "install", "--yes", "--no-install-recommends", *packages])
    finally:
        if not had_policy:
            subprocess.run([*root, "rm", "-f", str(_POLICY)], check=False)
    _disable(sorted(_known_units() - units_before), root)


def has_jdk() -> bool:
    """Whether there is a Java that is new enough, with its compiler: RocketMQ's launcher is compiled here."""
    programs = of_java("java"), of_java("javac")
    versions = [re.search(r"\b(\d+)\b", output([each, "--version"])) for each in programs if each]
    return len(versions) == len(programs) and all(found and (int(found[1]),) >= JAVA for found in versions)


def _become_root(wanted: Sequence[str], packages: Sequence[str]) -> list[str]:
    if os.geteuid() == 0:
        return []
    if find_program("sudo") is None:
        raise CannotInstall(
            f"{', '.join(wanted)}: not here, and only root may install it. "
            f"As root: apt-get install {' '.join(packages)}; then call this again."
        )
    return ["sudo"]


def _disable(units: Sequence[str], root: Sequence[str]) -> None:
    """Have these not started at the next boot: by systemd, or, where it is not there or not yet, by what init runs."""
    update_rc = find_program("update-rc.d")
    if units and find_program("systemctl"):
        _run([*root, "systemctl", "disable", *units])
    elif update_rc:
        for unit in units:
            _run([*root, update_rc, unit.removesuffix(".service"), "disable"])


def _known_units() -> set[str]:
    return {unit for unit in _UNITS if any((folder / unit).exists() for folder in _UNIT_FOLDERS)}


def _all_there(*programs: str) -> bool:
    return all(find_program(each) for each in programs)


def _at_least(program: str, wanted: Version) -> bool:
    path = find_program(program)
    if path is None:
        return False
    found = re.search(r"v=(\d+)\.(\d+)", output([path, "--version"]))
    return found is not None and (int(found[1]), int(found[2])) >= wanted


def output(command: Sequence[str]) -> str:
    """What a command prints; nothing when it can't be run."""
    with suppress(OSError):
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return ""


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise CannotInstall(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def _text(version: Version) -> str:
    return ".".join(map(str, version))
