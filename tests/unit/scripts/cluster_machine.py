"""A machine that has only what a test puts there: programs are small scripts in a folder, the only one on PATH."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from scripts.cluster.install import engine_cache, go_release, packages

_ALWAYS = ("sh", "env", "cat", "chmod", "rm", "printf", "mkdir", "cp")


class Machine:
    """What is installed, and what apt was asked for.

    Attributes:
        programs: The folder of its programs.
        engines: Where what is downloaded is kept.
        policy: Debian's file that forbids packages to start servers.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.programs = folder / "programs"
        self.engines = folder / "engines"
        self.policy = folder / "policy-rc.d"
        self._asked = folder / "asked"
        self.programs.mkdir()
        for name in _ALWAYS:
            (self.programs / name).symlink_to(str(shutil.which(name)))
        monkeypatch.setenv("PATH", str(self.programs))
        monkeypatch.setenv("REBACK_ENGINES", str(self.engines))
        monkeypatch.delenv("JAVA_HOME", raising=False)
        monkeypatch.setattr(engine_cache, "_ADMINS", ())
        monkeypatch.setattr(packages, "_POLICY", self.policy)
        monkeypatch.setattr(packages, "_UNIT_FOLDERS", (folder / "units",))
        monkeypatch.setattr(go_release, "_PLACES", ())
        monkeypatch.setattr("os.geteuid", lambda: 0)

    def has(self, name: str, says: str = "", script: str = "") -> Path:
        """Put a program there, which prints `says` whatever it is asked, or does what `script` says."""
        file = self.programs / name
        does = script or f"cat <<END\n{says}\nEND"
        file.write_text(f"#!/bin/sh\n{does}\n", encoding="utf-8")
        file.chmod(0o755)
        return file

    def has_engines(self) -> None:
        """Put everything there that the cluster runs."""
        for name in ("mariadbd", "mariadb-install-db", "my_print_defaults", "redis-sentinel"):
            self.has(name)
        self.has("redis-server", "Redis server v=7.0.15 sha=00000000:0")
        self.has("java", "openjdk 17.0.15 2025-04-15")
        self.has("javac", "javac 17.0.15")
        engine_cache.rocketmq_folder().mkdir(parents=True)
        engine_cache.launcher_folder().mkdir(parents=True)
        engine_cache.consul_program().parent.mkdir(parents=True)
        engine_cache.consul_program().touch()

    def has_apt(self, brings: str = ":") -> None:
        """Put an apt there that notes what it is asked to install, and the policy meanwhile."""
        self.has(
            "apt-get",
            script=f'case "$*" in *install*) printf "%s\\n" "$*" >>{self._asked};'
            f" cp {self.policy} {self._asked}.policy; {brings};; esac",
        )

    @property
    def asked_apt_for(self) -> list[Sequence[str]]:
        """The packages of each call of apt."""
        if not self._asked.exists():
            return []
        lines = self._asked.read_text(encoding="utf-8").splitlines()
        return [line.split("--no-install-recommends ")[1].split() for line in lines]

    @property
    def policy_meanwhile(self) -> str:
        return self._asked.with_suffix(".policy").read_text(encoding="utf-8")
