"""A MariaDB server of a test's own, which can be killed and come back."""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import pymysql

from tests.support.databases import ask

TIMEOUT_S: Final = 60.0
_USER: Final = """
CREATE USER IF NOT EXISTS tester@'127.0.0.1' IDENTIFIED BY 'secret';
GRANT ALL ON *.* TO tester@'127.0.0.1' WITH GRANT OPTION;
"""


class MariadbServer:
    """A server with data in `folder`, on a port of its own that it keeps.

    Attributes:
        url: `mysql://user:password@host:port` of a user who may do everything.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        self._folder = folder
        self._options = options
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.url = f"mysql://tester:secret@127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes] | None = None
        installer = shutil.which("mariadb-install-db")
        assert installer, "mariadb-install-db is not installed"
        subprocess.run(
            [installer, "--no-defaults", f"--datadir={folder}/data", "--auth-root-authentication-method=normal"],
            check=True,
            capture_output=True,
        )
        (folder / "init.sql").write_text(_USER)

    def start(self) -> None:
        """Start it, and wait until it serves."""
        program = shutil.which("mariadbd") or "/usr/sbin/mariadbd"
        here = self._folder
        self._process = subprocess.Popen(
            [
                program,
                "--no-defaults",
                f"--datadir={here}/data",
                f"--port={self._port}",
                f"--socket={here}/socket",
                f"--pid-file={here}/pid",
                f"--log-error={here}/log",
                f"--init-file={here}/init.sql",
                "--bind-address=127.0.0.1",
                "--skip-name-resolve",
                "--innodb-buffer-pool-size=16M",
                "--user=root",
                *self._options,
            ]
        )
        give_up = time.monotonic() + TIMEOUT_S
        while not self._serves():
            assert time.monotonic() < give_up, (here / "log").read_text()
            time.sleep(0.05)

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _serves(self) -> bool:
        with suppress(pymysql.Error, OSError):
            ask(self.url, "SELECT 1")
            return True
        return False


@contextmanager
def mariadb_server() -> Iterator[MariadbServer]:
    """A started server, killed and gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="reback-"))  # short: a socket's path has a limit
    try:
        server = MariadbServer(folder)
        try:
            server.start()
            yield server
        finally:
            server.kill()
    finally:
        shutil.rmtree(folder)
