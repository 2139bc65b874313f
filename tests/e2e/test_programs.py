"""Every program explains itself, and refuses what it does not know in one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 60
MODULES = [
    "inventory_srv",
    "order_srv",
    "common.rpc.health_check",
    "scripts.cluster",
    *(f"scripts.{path.stem}" for path in sorted(ROOT.glob("scripts/*.py"))),
]
SHELL = ["clean", "image", "lint", "proto", "setup"]


def called(*command: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "COLUMNS": "200"}
    return subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )


@pytest.mark.parametrize("module", MODULES)
def test_a_program_explains_itself_and_refuses_what_it_does_not_know(module: str) -> None:
    helped = called(sys.executable, "-m", module, "--help")
    assert (helped.returncode, helped.stderr) == (0, "")
    assert len(helped.stdout.split()) >= 20
    refused = called(sys.executable, "-m", module, "--bogus")
    assert (refused.returncode, refused.stdout) == (2, "")
    [line] = refused.stderr.splitlines()
    assert "--help" in line


@pytest.mark.parametrize("name", SHELL)
def test_a_shell_script_explains_itself_and_refuses_what_it_does_not_know(name: str) -> None:
    helped = called(f"scripts/{name}", "--help")
    assert (helped.returncode, helped.stderr) == (0, "")
    assert len(helped.stdout.split()) >= 8
    assert "set -" not in helped.stdout
    refused = called(f"scripts/{name}", "--bogus")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == refused.stderr.splitlines()[0] + "\n"
    assert "--bogus" in refused.stderr


@pytest.mark.parametrize("module", ["inventory_srv", "order_srv"])
def test_a_service_lists_its_settings(module: str) -> None:
    helped = called(sys.executable, "-m", module, "--help").stdout
    prefix = module.removesuffix("_srv").upper()
    for name in ("LISTEN", "DATABASE_URL", "THREADS", "LOG_LEVEL"):
        assert f"{prefix}_{name}" in helped
    assert "docs/settings.md" in helped


def test_an_audit_without_a_shop_says_so() -> None:
    ended = called(sys.executable, "-m", "scripts.audit", "--inventory", "127.0.0.1:1")
    assert (ended.returncode, ended.stdout) == (2, "")
    [line] = ended.stderr.splitlines()
    assert "inventory at 127.0.0.1:1 does not answer: UNAVAILABLE" in line
