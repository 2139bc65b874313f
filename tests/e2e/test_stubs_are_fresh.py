"""`scripts/proto --check` fails when the generated stubs differ from the protos."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The protos, their stubs and the script, with the environment that it needs."""
    shutil.copytree(ROOT / "proto", tmp_path / "proto")
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "proto", tmp_path / "scripts" / "proto")
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    return tmp_path


def check(copy: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([copy / "scripts" / "proto", "--check"], capture_output=True, text=True, check=False)


def test_the_stubs_in_the_repository_are_what_the_protos_say(copy: Path) -> None:
    checked = check(copy)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_a_proto_that_changed_without_its_stubs_is_named(copy: Path) -> None:
    proto = copy / "proto" / "reback" / "order" / "v1" / "order.proto"
    proto.write_text(proto.read_text().replace("string order_sn = 1;", "string order_number = 1;", 1))
    checked = check(copy)
    assert checked.returncode == 1
    assert "order_pb2" in checked.stderr
    assert "run make proto" in checked.stderr


def test_a_stub_that_was_edited_by_hand_is_named(copy: Path) -> None:
    stub = copy / "proto" / "reback" / "inventory" / "v1" / "inventory_pb2.pyi"
    stub.write_text(stub.read_text() + "\nextra: int\n")
    checked = check(copy)
    assert checked.returncode == 1
    assert "inventory_pb2.pyi" in checked.stderr


def test_a_proto_that_breaks_the_lint_is_named(copy: Path) -> None:
    proto = copy / "proto" / "reback" / "order" / "v1" / "order.proto"
    proto.write_text(proto.read_text() + "\nmessage lower_case {}\n")
    subprocess.run([copy / "scripts" / "proto"], check=True)
    checked = check(copy)
    assert checked.returncode != 0
    assert "lower_case" in checked.stdout + checked.stderr
