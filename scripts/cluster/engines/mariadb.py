"""MariaDB: how it is set up, started and asked."""

import os
import subprocess
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import Final

import pymysql

from scripts.cluster.install.engine_cache import program
from scripts.cluster.program import ENGINES, CannotRun, Program

NAME: Final = "mariadb"
USER: Final = "reback"
PASSWORD: Final = "reback"  # noqa: S105 - of a database that only this machine reaches
DATABASES: Final = ("inventory", "order")
_ASK_WITHIN_S: Final = 3

# Two replicas of each service keep 80 and 96 connections at most; tests have pools of their own beside them.
_CONFIGURATION: Final = """\
[mariadbd]
datadir = {folder}/data
socket = {socket}
pid-file = {folder}/pid
bind-address = 127.0.0.1
port = {port}
skip-name-resolve
init-file = {folder}/init.sql
max_connections = 600
innodb_flush_log_at_trx_commit = 1
innodb_buffer_pool_size = 512M
character-set-server = utf8mb4
collation-server = utf8mb4_nopad_bin
sql_mode = STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,ERROR_FOR_DIVISION_BY_ZERO
transaction-isolation = READ-COMMITTED
"""


def url(port: int) -> str:
    """The server's URL, without a database; its user may do everything."""
    return f"mysql://{USER}:{PASSWORD}@127.0.0.1:{port}"


def mariadb(folder: Path, port: int, socket: Path) -> Program:
    """A server with data in `folder`; each start makes the databases and the user that are not there."""
    server = program("mariadbd", "mysqld")
    statements = [
        *(f"CREATE DATABASE IF NOT EXISTS `{name}`;" for name in DATABASES),
        f"CREATE USER IF NOT EXISTS {USER}@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';",
        f"GRANT ALL ON *.* TO {USER}@'127.0.0.1' WITH GRANT OPTION;",
    ]
    return Program(
        name=NAME,
        group=ENGINES,
        command=[server, f"--defaults-file={folder}/mariadb.cnf", f"--user={os.getuid()}"],
        folder=folder,
        address=f"127.0.0.1:{port}",
        ports=[port],
        files={
            "mariadb.cnf": _CONFIGURATION.format(folder=folder, port=port, socket=socket),
            "init.sql": "\n".join(statements) + "\n",
        },
        prepare=partial(_make_data, folder),
        trouble=partial(trouble, port),
    )


def trouble(port: int) -> str:
    """Log in, and ask for something."""
    try:
        with pymysql.connect(
            host="127.0.0.1", port=port, user=USER, password=PASSWORD, connect_timeout=_ASK_WITHIN_S, ssl_disabled=True
        ) as connection:
            connection.cursor().execute("SELECT 1")
    except (pymysql.Error, OSError) as error:
        return str(error.args[-1] if error.args else error)
    return ""


def _make_data(folder: Path) -> None:
    """Make the server's own tables, whole or not at all."""
    if (folder / "data").is_dir():
        return
    unfinished = folder / "data.unfinished"
    rmtree(unfinished, ignore_errors=True)
    made = subprocess.run(
        [
            program("mariadb-install-db", "mysql_install_db"),
            "--no-defaults",
            f"--datadir={unfinished}",
            f"--user={os.getuid()}",
            "--auth-root-authentication-method=socket",  # no login over the network but that of `USER`
            "--skip-test-db",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        raise CannotRun(f"mariadb-install-db failed:\n{made.stdout}{made.stderr}")
    unfinished.rename(folder / "data")
