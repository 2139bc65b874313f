"""A MariaDB server of a test's own, which can be killed and come back."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import pymysql

from tests.support.databases import ask
from tests.support.ports import free_port
from tests.support.server_process import ServerProcess
from tests.support.waiting import wait_until

START_TIMEOUT_S: Final = 60.0
_USER: Final = """
CREATE USER IF NOT EXISTS tester@'127.0.0.1' IDENTIFIED BY 'secret';
GRANT ALL ON *.* TO tester@'127.0.0.1' WITH GRANT OPTION;
"""


class MariadbServer(ServerProcess):
    """A server with data in `folder`, on a port of its own that it keeps.

    Attributes:
        url: `mysql://user:password@host:port` of a user who may do everything.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        super().__init__(folder)
        self._options = options
        self._port = free_port()
        self.url = f"mysql://tester:secret@127.0.0.1:{self._port}"
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
        here = self.folder
        self._run(
            [
                program,
                "--no-defaults",
                f"--datadir={here}/data",
                f"--port={self._port}",
                f"--socket={here}/socket",
                f"--pid-file={here}/pid",
                f"--init-file={here}/init.sql",
                "--bind-address=127.0.0.1",
                "--skip-name-resolve",
                "--innodb-buffer-pool-size=16M",
                "--user=root",
                *self._options,
            ]
        )
        wait_until(self._serves, f"MariaDB serves; its log is in {here}", START_TIMEOUT_S)

    def _serves(self) -> bool:
        with suppress(pymysql.Error, OSError):
            ask(self.url, "SELECT 1")
            return True
        return False


@contextmanager
def mariadb_server(*options: str) -> Iterator[MariadbServer]:
    """A started server, killed and gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="reback-"))  # short: a socket's path has a limit
    try:
        server = MariadbServer(folder, *options)
        try:
            server.start()
            yield server
        finally:
            server.close()
    finally:
        shutil.rmtree(folder)
