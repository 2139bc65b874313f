"""The supervisor that runs the programs: its configuration, its start and its end, and the calls to it."""

import hashlib
import os
import shlex
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final

from supervisor.xmlrpc import Faults, SupervisorTransport

from scripts.cluster.program import CannotRun, Program

MARK: Final = "REBACK_CLUSTER"
"""The variable in the environment of every process of a cluster; its value is the cluster's folder."""

_START_WITHIN_S: Final = 15
_POLL_S: Final = 0.05
_DO_NOT_WAIT: Final = False
_LONGEST_SOCKET_PATH: Final = 80  # systems allow about 104 bytes, and the name is still to come
_SETTINGS: Final = ("INVENTORY_", "ORDER_")

# startretries: the pauses grow by a second each, so that a service waits minutes for an engine that is away.
_PROGRAM: Final = """
[program:{name}]
command={command}
directory={directory}
autostart=false
autorestart=true
startsecs=1
startretries=30
stopsignal=TERM
stopwaitsecs=40
killasgroup=true
redirect_stderr=true
stdout_logfile={log}
stdout_logfile_maxbytes=20MB
stdout_logfile_backups=1
"""

_SUPERVISOR: Final = """\
[supervisord]
nodaemon=true
{user}directory={folder}
logfile={folder}/supervisord.log
logfile_maxbytes=5MB
logfile_backups=1
pidfile={folder}/supervisord.pid
identifier=reback

[unix_http_server]
file={socket}
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
"""


def socket_folder(folder: Path) -> Path:
    """Where the cluster's sockets are: its folder, or a short one where that has too long a path for a socket."""
    if len(os.fsencode(folder)) <= _LONGEST_SOCKET_PATH:
        return folder
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"reback-{os.getuid()}-{digest}"


def make_socket_folder(folder: Path) -> None:
    """Make the folder of the cluster's sockets; a short one is this user's alone. Again is harmless.

    Raises:
        CannotRun: It is another user's.
    """
    sockets = socket_folder(folder)
    sockets.mkdir(mode=0o700, exist_ok=True)
    if sockets.stat().st_uid != os.getuid():
        raise CannotRun(f"{sockets} is another user's; the cluster's sockets should be there")


def configuration(folder: Path, programs: Sequence[Program]) -> str:
    """The text of the supervisor's configuration."""
    text = _SUPERVISOR.format(
        folder=_plain(folder),
        socket=_plain(socket_folder(folder) / "supervisor.sock"),
        user="user=root\n" if os.getuid() == 0 else "",  # said, it does not warn of it
    )
    for group in dict.fromkeys(each.group for each in programs):
        names = ",".join(each.name for each in programs if each.group == group)
        text += f"\n[group:{group}]\nprograms={names}\n"
    for each in programs:
        text += _PROGRAM.format(
            name=each.name,
            command=_plain(shlex.join(each.command)),
            directory=_plain(each.folder),
            log=_plain(log_of(folder, each.name)),
        )
    return text


def log_of(folder: Path, name: str) -> Path:
    """The file with what a program has printed."""
    return folder / "logs" / f"{name}.log"


def _plain(value: object) -> str:
    """A value with nothing in it that the supervisor would expand."""
    return str(value).replace("%", "%%")


class Supervisor:
    """The supervisor of the cluster in `folder`, running or not."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._socket = socket_folder(folder) / "supervisor.sock"

    def running(self) -> bool:
        """Whether it answers."""
        try:
            self._call("getState")
        except (OSError, HTTPException, xmlrpc.client.Error):
            return False
        return True

    def start(self) -> None:
        """Start it, in a session of its own; it starts no program by itself.

        Raises:
            CannotRun: It died or did not answer in time.
        """
        with (self._folder / "supervisord.out").open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "supervisor.supervisord", "-c", str(self._folder / "supervisord.conf")],
                cwd=self._folder,
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        give_up = time.monotonic() + _START_WITHIN_S
        while not self.running():
            if process.poll() is not None or time.monotonic() > give_up:
                process.kill()
                process.wait()
                words = (self._folder / "supervisord.out").read_text(errors="replace")
                raise CannotRun(f"the supervisor did not start:\n{words}")
            time.sleep(_POLL_S)
        process.returncode = 0  # it outlives this process, which is not a fault to be warned of

    def states(self) -> Mapping[str, tuple[str, int]]:
        """The state of each program (RUNNING, STOPPED, BACKOFF …) and its pid, 0 when there is none."""
        return {each["name"]: (each["statename"], each["pid"]) for each in self._call("getAllProcessInfo")}

    def start_program(self, program: Program) -> None:
        """Start it, without waiting for it; again is harmless."""
        with _passing_over(Faults.ALREADY_STARTED):
            self._call("startProcess", f"{program.group}:{program.name}", _DO_NOT_WAIT)

    def stop_program(self, program: Program, *, wait: bool = True) -> None:
        """Let it end (SIGTERM, and SIGKILL when that takes too long); it stays away until it is started."""
        with _passing_over(Faults.NOT_RUNNING):
            self._call("stopProcess", f"{program.group}:{program.name}", wait)

    def stop_group(self, group: str) -> None:
        """Let all programs of a group end at the same time, and wait until they have."""
        with _passing_over(Faults.BAD_NAME):
            self._call("stopProcessGroup", group)

    def shut_down(self) -> None:
        """Let it end; what still runs ends first."""
        self._call("shutdown")

    def _environment(self) -> Mapping[str, str]:
        """This process's, but for settings of the services: theirs are in their folders."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS)}
        return {**kept, MARK: str(self._folder), "PYTHONUNBUFFERED": "1"}

    def _call(self, method: str, *arguments: object) -> Any:
        transport = SupervisorTransport(None, None, f"unix://{self._socket}")
        try:
            proxy = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)
            return getattr(proxy.supervisor, method)(*arguments)
        finally:
            transport.close()


@contextmanager
def _passing_over(fault: int) -> Iterator[None]:
    """Pass over one fault, which says that it is so already."""
    try:
        yield
    except xmlrpc.client.Fault as told:
        if told.faultCode != fault:
            raise
