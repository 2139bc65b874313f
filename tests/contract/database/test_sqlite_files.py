"""Database files that can't be used: one line names the file, the fault and the cure, and the file stays as it was."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from common.clock import SystemClock
from common.database import Database
from common.errors import UnusableEngine
from common.messaging.drivers import open_broker
from common.messaging.port import Message
from common.sqlite_file import prepare_file
from tests.contract.database.harness import MIGRATIONS
from tests.support.sqlite_processes import ask_in_another_process


def migrate(file: Path) -> None:
    with closing(Database(f"sqlite:///{file}")) as database:
        database.migrate(MIGRATIONS)


def start_broker(file: Path) -> None:
    with closing(open_broker(f"embedded:///{file}", topic_prefix="", clock=SystemClock())) as broker:
        broker.start()
        broker.publish(Message("topic", "key", b"body"))


USERS = {"DATABASE_URL": migrate, "BROKER_URL": start_broker}


def text_file(file: Path) -> None:
    file.write_text("sku,price\ntea,100\n" * 100)


def of_another_program(file: Path) -> None:
    with closing(sqlite3.connect(file)) as other:
        other.execute("CREATE TABLE bookmarks (url TEXT)")
        other.commit()


def truncated(file: Path, use: Callable[[Path], None]) -> None:
    use(file)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def cut_within_its_header(file: Path, use: Callable[[Path], None]) -> None:
    use(file)
    file.write_bytes(file.read_bytes()[:50])


def overwritten(file: Path, use: Callable[[Path], None]) -> None:
    use(file)
    content = bytearray(file.read_bytes())
    content[100:4096] = b"\xff" * 3996
    file.write_bytes(content)


def emptied(file: Path, use: Callable[[Path], None]) -> None:
    use(file)
    file.write_bytes(b"")


def emptied_beside_its_changes(file: Path, _: Callable[[Path], None]) -> None:
    file.write_bytes(b"")
    Path(f"{file}-wal").write_bytes(b"changes")


def deleted_beside_its_changes(file: Path, _: Callable[[Path], None]) -> None:
    Path(f"{file}-wal").write_bytes(b"changes")


@pytest.mark.parametrize("setting", USERS)
@pytest.mark.parametrize(
    ("spoil", "fault", "cure"),
    [
        (lambda file, _: text_file(file), "is not a SQLite database", "name another file"),
        (lambda file, _: of_another_program(file), "belongs to another program: it has a table 'bookmarks'", "name"),
        (lambda file, _: file.mkdir(), "is a folder", "name a file"),
        (truncated, "is damaged or cut short", "restore it from a backup"),
        (cut_within_its_header, "is damaged or cut short", "restore it from a backup"),
        (overwritten, "is damaged or cut short", "restore it from a backup"),
        (emptied, "is empty: its data is gone, or its first start was cut off", "delete the file"),
        (emptied_beside_its_changes, "is empty, but shop.db-wal", "restore both"),
        (deleted_beside_its_changes, "is missing, but shop.db-wal", "restore both"),
    ],
    ids=[
        "text",
        "another program's",
        "a folder",
        "truncated",
        "cut within its header",
        "overwritten",
        "emptied",
        "emptied beside its changes",
        "deleted beside its changes",
    ],
)
def test_a_file_that_is_no_database_of_ours_is_refused_and_left_alone(
    tmp_path: Path, setting: str, spoil: Callable[[Path, Callable[[Path], None]], None], fault: str, cure: str
) -> None:
    file = tmp_path / "shop.db"
    spoil(file, USERS[setting])
    before = file.read_bytes() if file.is_file() else None

    with pytest.raises(UnusableEngine) as refused:
        USERS[setting](file)

    (line,) = refused.value.lines
    assert refused.value.setting == setting
    assert line.startswith(f"{file} {fault}")
    assert cure in line
    assert (file.read_bytes() if file.is_file() else None) == before


@pytest.mark.parametrize("setting", USERS)
def test_a_folder_that_can_not_be_made_is_named(tmp_path: Path, setting: str) -> None:
    (tmp_path / "notes.txt").write_text("a file")
    file = tmp_path / "notes.txt" / "data" / "shop.db"

    with pytest.raises(UnusableEngine) as refused:
        USERS[setting](file)

    assert f"{file} can't be made: {file.parent}: Not a directory" in refused.value.lines[0]


@pytest.mark.parametrize("setting", USERS)
def test_a_folder_that_takes_no_files_is_named(setting: str) -> None:
    with pytest.raises(UnusableEngine) as refused:
        USERS[setting](Path("/proc/shop.db"))

    assert "nothing can be written to its folder /proc" in refused.value.lines[0]


@pytest.mark.parametrize("setting", USERS)
def test_a_new_folder_and_a_database_that_was_used_before_are_fine(tmp_path: Path, setting: str) -> None:
    file = tmp_path / "new" / "folder" / "shop.db"

    USERS[setting](file)
    USERS[setting](file)

    assert file.stat().st_size > 0


def test_the_broker_does_not_take_a_services_database_nor_a_service_the_brokers(tmp_path: Path) -> None:
    migrate(tmp_path / "shop.db")
    start_broker(tmp_path / "broker.db")

    with pytest.raises(UnusableEngine, match="belongs to another program"):
        start_broker(tmp_path / "shop.db")
    with pytest.raises(UnusableEngine, match="belongs to another program"):
        migrate(tmp_path / "broker.db")


def test_a_database_that_was_killed_before_it_was_closed_is_fine(tmp_path: Path) -> None:
    file = tmp_path / "shop.db"
    migrate(file)
    with closing(sqlite3.connect(file, isolation_level=None)) as writer:
        writer.executemany("INSERT INTO note (word, number) VALUES (?, 0)", [(f"{n:0500}",) for n in range(100)])
        with closing(sqlite3.connect(file)):
            copied = tmp_path / "killed.db"
            copied.write_bytes(file.read_bytes())
            Path(f"{copied}-wal").write_bytes(Path(f"{file}-wal").read_bytes())

    migrate(copied)

    with closing(sqlite3.connect(copied)) as reader:
        assert reader.execute("SELECT COUNT(*) FROM note").fetchone() == (100,)


def test_a_check_leaves_the_locks_of_this_process_alone(tmp_path: Path) -> None:
    file = tmp_path / "shop.db"
    with closing(sqlite3.connect(file, isolation_level=None)) as user:
        user.execute("PRAGMA journal_mode = wal")
        user.execute("CREATE TABLE note (word TEXT)")

        prepare_file(file, "DATABASE_URL", "note")

        assert ask_in_another_process(file, "SELECT word FROM note") == []  # it must not believe that it was the last
        assert Path(f"{file}-wal").exists()
        user.execute("INSERT INTO note VALUES ('tea')")
        assert ask_in_another_process(file, "SELECT word FROM note") == [["tea"]]


@pytest.mark.parametrize("setting", USERS)
def test_what_belongs_to_a_file_is_looked_for_beside_it_not_beside_a_link(tmp_path: Path, setting: str) -> None:
    (tmp_path / "data").mkdir()
    file, link = tmp_path / "data" / "shop.db", tmp_path / "link.db"
    deleted_beside_its_changes(file, USERS[setting])
    link.symlink_to(file)

    with pytest.raises(UnusableEngine, match="is missing, but shop"):
        USERS[setting](link)

    assert not file.exists()


@pytest.mark.parametrize("setting", USERS)
def test_the_folder_of_a_link_s_target_takes_the_files_not_the_link_s(tmp_path: Path, setting: str) -> None:
    link = tmp_path / "link.db"
    link.symlink_to("/proc/shop.db")

    with pytest.raises(UnusableEngine, match="nothing can be written to its folder /proc"):
        USERS[setting](link)
