"""Whether a file can be this program's SQLite database: checked before it is used, so that no data vanishes silently.

SQLite itself takes an empty file for a new database, and adds its tables to any other program's.

Nothing here opens the file but SQLite. When a process closes any descriptor of a file, it loses all its POSIX locks on
that file, those of its open databases too; the next process to close the database believes that it was the last user
and deletes the log that this one goes on writing to.
"""

import errno
import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Final

from common.errors import UnusableEngine

_CREATION_S: Final = 2.0  # in which another process that creates the file has written its first page
_LOOK_EVERY_S: Final = 0.01
_BUSY_S: Final = 5.0
_RESTORE: Final = "restore it from a backup, or name another file"


def prepare_file(path: Path, setting: str, own_table: str, *, may_be_new: bool = True) -> None:
    """Check a database file before this process uses it, and make the folder of one that may be new.

    Args:
        path: The file, or a link to it.
        setting: The setting that names it, without its prefix, such as `DATABASE_URL`.
        own_table: A table that every database of this kind has.
        may_be_new: Whether the file need not exist yet.

    Raises:
        UnusableEngine: It can't be used as it is; the text names the file, the fault and the cure.
    """
    try:
        fault = _fault(Path(os.path.realpath(path)), own_table, may_be_new=may_be_new)
    except OSError as error:
        fault = f"can't be used: {error.strerror}; name a file that this process may read and write"
    if fault:
        raise UnusableEngine(setting, [f"{path} {fault}"])


def _fault(path: Path, own_table: str, *, may_be_new: bool) -> str:
    """What is wrong, and what to do about it; empty: nothing. SQLite keeps files beside the path, so it is no link."""
    if not may_be_new and not path.exists():
        return "is missing; name the file of a service that was started before"
    if fault := _folder_fault(path.parent):
        return fault
    if path.is_dir():
        return f"is a folder; name a file, such as {path / 'shop.db'}"
    size = _size_once_created(path)
    if not size:
        return _no_content_fault(path, exists=size is not None)
    if not os.access(path, os.R_OK | os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return _content_fault(path, own_table)


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


def _no_content_fault(path: Path, *, exists: bool) -> str:
    changes = Path(f"{path}-wal")
    if changes.is_file() and changes.stat().st_size:
        what = "is empty" if exists else "is missing"
        return f"{what}, but {changes.name} still holds its changes; restore both from a backup, or move it away"
    if not exists:
        return ""
    return (
        "is empty: its data is gone, or its first start was cut off; restore it from a backup, or delete the file to"
        " begin a new database"
    )


def _content_fault(path: Path, own_table: str) -> str:
    try:
        with closing(sqlite3.connect(path, timeout=_BUSY_S)) as connection:
            tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            return ""  # in use, and so a database that somebody can use
        return f"can't be used: {error}; {_RESTORE}"
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
            return "is not a SQLite database; name another file, or move it away"
        return f"is damaged or cut short: {error}; {_RESTORE}"
    if tables and own_table not in tables:
        return (
            f"belongs to another program: it has a table {tables[0]!r} and none named {own_table!r}; name another file"
        )
    return ""
