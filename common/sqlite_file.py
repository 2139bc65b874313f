"""Whether a file can be this program's SQLite database: checked before it is used, so that no data vanishes silently.

SQLite itself takes an empty file for a new database, adds its tables to any other program's, and notices a truncated
file only when it reads the missing part.
"""

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Final

from common.errors import UnusableEngine

_MAGIC: Final = b"SQLite format 3\0"
_HEADER_BYTES: Final = 100
_LARGEST_PAGE: Final = 65_536
_CREATION_S: Final = 2.0  # in which another process that creates the file has written its first page
_LOOK_EVERY_S: Final = 0.01
_BUSY_S: Final = 5.0
_RESTORE: Final = "restore it from a backup, or name another file"


def prepare_file(path: Path, setting: str, own_table: str) -> None:
    """Check a database file, and make its folder; the file itself need not exist yet.

    Args:
        path: The file.
        setting: The setting that names it, without its prefix, such as `DATABASE_URL`.
        own_table: A table that every database of this kind has.

    Raises:
        UnusableEngine: It can't be used as it is; the text names the file, the fault and the cure.
    """
    try:
        fault = _fault(path, own_table)
    except OSError as error:
        fault = f"can't be used: {error.strerror}; name a file that this process may read and write"
    if fault:
        raise UnusableEngine(setting, [f"{path} {fault}"])


def _fault(path: Path, own_table: str) -> str:
    """What is wrong, and what to do about it; empty: nothing."""
    if fault := _folder_fault(path.parent):
        return fault
    if path.is_dir():
        return f"is a folder; name a file, such as {path / 'shop.db'}"
    size = _size_once_created(path)
    changes = Path(f"{path}-wal")
    if not size and changes.is_file() and changes.stat().st_size:
        what = "is missing" if size is None else "is empty"
        return f"{what}, though {changes.name} beside it has changes of it; restore both from a backup, or move it away"
    if size is None:
        return ""
    if not size:
        return "is empty: its data is gone; restore it from a backup, or delete the file to begin a new database"
    with path.open("r+b") as file:  # to write, too
        header = file.read(_HEADER_BYTES)
    return _header_fault(path, header) or _content_fault(path, own_table)


def _folder_fault(folder: Path) -> str:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return f"can't be made: {folder}: {error.strerror}; name a file in a folder that this process may write to"
    probe = folder / f".probe-{time.monotonic_ns()}"
    try:
        probe.touch()
        probe.unlink(missing_ok=True)
    except OSError as error:
        return (
            f"can't be used: nothing can be written to its folder {folder} ({error.strerror}), where SQLite keeps files"
            " beside it; let this process write there, or name a file elsewhere"
        )
    return ""


def _size_once_created(path: Path) -> int | None:
    """Its size in bytes, once nobody is about to write its first page; None: there is no file."""
    give_up = time.monotonic() + _CREATION_S
    while True:
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return None
        if size or time.monotonic() > give_up:
            return size
        time.sleep(_LOOK_EVERY_S)


def _header_fault(path: Path, header: bytes) -> str:
    if not header.startswith(_MAGIC):
        return "is not a SQLite database; name another file, or move it away"
    if any(Path(f"{path}{beside}").is_file() for beside in ("-wal", "-journal")):
        return ""  # in use, or not closed: pages that belong at its end may be there
    size = path.stat().st_size  # after the header: another process may make the file longer
    page = int.from_bytes(header[16:18], "big")
    pages = int.from_bytes(header[28:32], "big")
    expected = pages * (_LARGEST_PAGE if page == 1 else page)
    if size < max(expected, _HEADER_BYTES):
        return f"is truncated: it has {size} of {expected} bytes; {_RESTORE}"
    return ""


def _content_fault(path: Path, own_table: str) -> str:
    try:
        with closing(sqlite3.connect(path, timeout=_BUSY_S)) as connection:
            tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            return ""  # in use, and so a database that somebody can use
        return f"can't be used: {error}; {_RESTORE}"
    except sqlite3.DatabaseError as error:
        return f"is damaged: {error}; {_RESTORE}"
    if tables and own_table not in tables:
        return (
            f"belongs to another program: it has a table {tables[0]!r} and none named {own_table!r}; name another file"
        )
    return ""
