"""Files and folders that keep `make run` from starting: one line names the file, the fault and the cure."""

import subprocess
from pathlib import Path

import pytest

from tests.e2e.test_story import GOODS, OWN_PORTS, ended_in, environment, processes_in, program, read_until, running

ROOT = Path(__file__).parents[2]
TIMEOUT_S = 110


def test_a_path_is_given_by_make_as_it_is(tmp_path: Path) -> None:
    goods = tmp_path / 'it\'s a $HOME "shop" $(shell date).csv'
    goods.write_text("sku\n")
    ended = subprocess.run(
        ["make", "run", f"GOODS={goods}"],
        cwd=ROOT,
        env=environment(tmp_path, **OWN_PORTS),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert f"{goods} can't be used" in ended.stdout
    assert 'lacks "name"' in ended.stdout


@pytest.mark.parametrize("name", ["run", "demo"])
@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (None, "it can't be read: No such file or directory"),
        ("folder", "it can't be read: Is a directory"),
        (b"", "the file is empty"),
        (b"\x7fELF\x02\x01\x01\x00\xff\xfe", "not UTF-8: save the file as UTF-8"),
    ],
)
def test_a_goods_file_that_is_none_is_named(name: str, content: bytes | str | None, fault: str, tmp_path: Path) -> None:
    goods = tmp_path / "my goods.csv"
    if isinstance(content, bytes):
        goods.write_bytes(content)
    elif content:
        goods.mkdir()
    ended = ended_in(tmp_path, program(name), GOODS=str(goods))
    assert ended.returncode == 2
    assert f"{goods} can't be used" in ended.stdout
    assert fault in ended.stdout
    assert "Traceback" not in ended.stdout + ended.stderr


def test_an_empty_name_is_not_the_example(tmp_path: Path) -> None:
    ended = ended_in(tmp_path, program("run"), GOODS="")
    assert ended.returncode == 2
    assert "it names no file" in ended.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("file", [".run", ".run/logs", ".run/logs/inventory_srv.log/"])
def test_a_folder_that_can_not_be_written_is_named(file: str, tmp_path: Path) -> None:
    blocked = tmp_path / file
    blocked.parent.mkdir(parents=True, exist_ok=True)
    if file.endswith("/"):
        blocked.mkdir()
    else:
        blocked.write_text("")
    ended = ended_in(tmp_path, program("run"))
    assert ended.returncode == 2
    [line] = [line for line in ended.stdout.splitlines() if str(tmp_path / ".run" / "logs") in line]
    assert "it has to be a folder that can be written" in line
    assert "Traceback" not in ended.stdout + ended.stderr
    assert processes_in(tmp_path) == []


def test_what_a_service_says_is_passed_on(tmp_path: Path) -> None:
    ended = ended_in(tmp_path, program("run"), INVENTORY_THREADS="many")
    assert ended.returncode == 2
    assert "inventory_srv did not start: INVENTORY_THREADS='many': must be a whole number" in ended.stdout
    assert "exit code" not in ended.stdout


def test_a_shop_serves_in_a_folder_of_any_name_without_the_story(tmp_path: Path) -> None:
    folder = tmp_path / "it's a $HOME [shop]; #1"
    folder.mkdir()
    (folder / "goods.csv").write_text(GOODS)
    with running(folder, GOODS="goods.csv", STORY="Off") as process:
        printed = read_until(process, "ListMovements")
        assert "goods: 2 put in" in printed
        assert "✓" not in printed
        assert "story-" not in printed
        assert '"sku": "tea"' in printed
        assert "PayOrder" in printed
        assert (folder / ".run" / "order.db").is_file()
