"""What `make cluster-install` brings, what it leaves alone, and what it says when it can't."""

import json
import re
from pathlib import Path

import pytest

from scripts.cluster.install.engine_cache import consul_program, launcher_folder, rocketmq_folder
from scripts.cluster.install.go_release import NEWER_GO, go_package, newer_go, newest_go
from scripts.cluster.install.install import install_all
from scripts.cluster.install.packages import CannotInstall
from tests.unit.scripts.cluster_machine import Machine


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


def test_what_is_there_is_left_alone(machine: Machine) -> None:
    machine.has_engines()
    machine.has_apt()
    said: list[str] = []
    install_all(said.append)
    assert machine.asked_apt_for == []
    assert said == []


def test_only_what_is_missing_is_asked_of_apt(machine: Machine) -> None:
    machine.has_engines()
    (machine.programs / "redis-sentinel").unlink()
    machine.has_apt(brings=f"cp {machine.programs}/mariadbd {machine.programs}/redis-sentinel")
    install_all(lambda _line: None)
    assert machine.asked_apt_for == [["redis-sentinel"]]


def test_a_machine_without_anything_needs_these_packages(machine: Machine) -> None:
    machine.has_apt()
    with pytest.raises(CannotInstall, match="did not install MariaDB"):
        install_all(lambda _line: None)
    engines = ["mariadb-server-core", "mariadb-client-core", "redis-server", "redis-sentinel"]
    assert machine.asked_apt_for == [[*engines, "default-jdk-headless", "maven"]]


@pytest.mark.parametrize(
    ("program", "says", "package"),
    [
        ("redis-server", "Redis server v=6.0.16 sha=0", "redis-server"),
        ("java", "openjdk 11.0.2 2019-01-15", "default-jdk-headless"),
        ("javac", "javac 1.8.0_292", "default-jdk-headless"),
    ],
)
def test_what_is_too_old_counts_as_missing(machine: Machine, program: str, says: str, package: str) -> None:
    machine.has_engines()
    machine.has(program, says)
    machine.has_apt()
    with pytest.raises(CannotInstall, match="an older one seems to come first"):
        install_all(lambda _line: None)
    assert machine.asked_apt_for == [[package]]


def test_packages_start_no_server_while_they_are_installed(machine: Machine) -> None:
    machine.has_engines()
    (machine.programs / "redis-sentinel").unlink()
    machine.has_apt(brings=f"cp {machine.programs}/mariadbd {machine.programs}/redis-sentinel")
    install_all(lambda _line: None)
    assert "exit 101" in machine.policy_meanwhile
    assert not machine.policy.exists()


def test_a_policy_that_the_machine_has_is_kept(machine: Machine) -> None:
    machine.has_engines()
    (machine.programs / "redis-sentinel").unlink()
    machine.policy.write_text("its own")
    machine.has_apt(brings=f"cp {machine.programs}/mariadbd {machine.programs}/redis-sentinel")
    install_all(lambda _line: None)
    assert machine.policy.read_text() == "its own"


@pytest.mark.parametrize(
    ("program", "called"),
    [("systemctl", "disable redis-sentinel.service"), ("update-rc.d", "redis-sentinel disable")],
)
def test_units_of_new_packages_are_disabled(machine: Machine, tmp_path: Path, program: str, called: str) -> None:
    machine.has_engines()
    (machine.programs / "redis-sentinel").unlink()
    units = tmp_path / "units"
    units.mkdir()
    (units / "redis-server.service").touch()  # was there before: the user's own
    machine.has(program, script=f'printf "%s\\n" "$*" >>{tmp_path}/called')
    machine.has_apt(
        brings=f"cp {machine.programs}/mariadbd {machine.programs}/redis-sentinel;"
        f" cp {machine.programs}/mariadbd {units}/redis-sentinel.service"
    )
    install_all(lambda _line: None)
    assert (tmp_path / "called").read_text() == f"{called}\n"


def test_a_system_without_apt_is_told_so(machine: Machine) -> None:
    with pytest.raises(CannotInstall, match=r"there is no apt-get to install it \(packages mariadb-server-core, maria"):
        install_all(lambda _line: None)


def test_who_is_neither_root_nor_has_sudo_is_told_so(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.has_apt()
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(CannotInstall, match=r"only root may install it\. As root: apt-get install mariadb-server-core"):
        install_all(lambda _line: None)


def test_sudo_is_used_where_it_is_needed(machine: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine.has_engines()
    (machine.programs / "redis-sentinel").unlink()
    machine.has_apt(brings=f"cp {machine.programs}/mariadbd {machine.programs}/redis-sentinel")
    machine.has("sudo", script=f'printf "%s\\n" "$1" >>{tmp_path}/sudo; exec "$@"')
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    install_all(lambda _line: None)
    assert (tmp_path / "sudo").read_text().split() == ["sh", "env", "env", "rm"]


@pytest.mark.parametrize("says", ["openjdk 21 2023-09-19", "openjdk 17.0.15 2025-04-15"])
def test_a_java_is_new_enough_with_a_point_in_its_version_or_without(machine: Machine, says: str) -> None:
    machine.has_engines()
    machine.has("java", f"{says}\nOpenJDK Runtime Environment (build {says.split()[1]}+35-2513)")
    machine.has("javac", f"javac {says.split()[1]}")
    install_all(lambda _line: None)


def test_an_interrupted_download_is_not_taken_for_a_finished_one(machine: Machine) -> None:
    machine.has_engines()
    rocketmq_folder().rmdir()
    machine.has("mvn", script="echo no way; exit 1")
    with pytest.raises(CannotInstall, match="no way"):
        install_all(lambda _line: None)
    assert not rocketmq_folder().exists()
    assert not list(machine.engines.glob("*unfinished*"))


def test_jars_and_launcher_get_their_names_when_they_are_complete(machine: Machine) -> None:
    machine.has_engines()
    rocketmq_folder().rmdir()
    launcher_folder().rmdir()
    machine.has(
        "mvn", script='for each; do case $each in -DoutputDirectory=*) echo jar >"${each#*=}/a.jar";; esac; done'
    )
    machine.has("javac", script='[ "$1" = -d ] && echo class >"$2/OnLoopback.class" || echo javac 17.0.15')
    said: list[str] = []
    install_all(said.append)
    assert (rocketmq_folder() / "a.jar").is_file()
    assert (launcher_folder() / "OnLoopback.class").is_file()
    assert re.search(r"RocketMQ 5\.4\.0 is there \(\d+ s\)", "\n".join(said))


def test_consul_is_built_by_a_go_that_is_new_enough(machine: Machine) -> None:
    machine.has_engines()
    consul_program().unlink()
    consul_program().parent.rmdir()
    machine.has(
        "go",
        script='case $1 in version) echo go version go1.22.1 linux/amd64;; build) echo built >"$5";; esac',
    )
    install_all(lambda _line: None)
    assert consul_program().read_text() == "built\n"


def test_the_newest_go_that_apt_offers_is_taken(machine: Machine) -> None:
    machine.has(
        "apt-cache",
        "golang-go:\n  Installed: (none)\n  Candidate: 2:1.19~1\n"
        "golang-1.22-go:\n  Installed: (none)\n  Candidate: 1.22.4-1~bpo12+1",
    )
    assert newest_go() is None
    assert go_package() == "golang-1.22-go"


def test_an_older_go_brings_a_newer_one_which_can_be_run(machine: Machine, tmp_path: Path) -> None:
    brought = tmp_path / "brought"
    (brought / "bin").mkdir(parents=True)
    (brought / "bin" / "go").write_text("#!/bin/sh\necho go version go1.22.12 linux/amd64\n")
    (brought / "bin" / "go").chmod(0o444)  # so are all files of a module
    answer = json.dumps({"Dir": str(brought)})
    old = machine.has(
        "go",
        script=f"""case "$*" in
            version) echo go version go1.19.8 linux/amd64;;
            "env GOOS GOARCH") printf 'linux\\namd64\\n';;
            "mod download -json golang.org/toolchain@v0.0.1-go{NEWER_GO}.linux-amd64") echo '{answer}';;
            *) exit 1;;
        esac""",
    )
    program = newer_go(str(old), tmp_path / "new")
    assert Path(program).stat().st_mode & 0o111


def test_an_older_go_that_brings_nothing_is_named_and_what_to_do(machine: Machine, tmp_path: Path) -> None:
    old = machine.has("go", script="[ $1 = env ] && echo linux amd64 && exit 0; echo no network >&2; exit 1")
    with pytest.raises(CannotInstall, match=r"Go 1\.22 or newer(.|\n)*no network(.|\n)*go\.dev/doc/install"):
        newer_go(str(old), tmp_path / "new")
