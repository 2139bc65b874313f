"""SQLite files as another process sees them: a process never sees that its own locks are missing."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.support.waiting import TIMEOUT_S

_PROGRAM: Final = """
import contextlib, json, sqlite3, sys
with contextlib.closing(sqlite3.connect(sys.argv[1], timeout=10)) as connection:
    print(json.dumps(connection.execute(sys.argv[2]).fetchall()))
"""


def ask_in_another_process(file: Path, query: str) -> list[list[object]]:
    """The rows of a query by a process that opens the file and closes it."""
    ended = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(file), query],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=True,
    )
    found: list[list[object]] = json.loads(ended.stdout)
    return found
