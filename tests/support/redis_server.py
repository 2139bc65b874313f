"""Redis servers and Sentinels of a test's own: they can be killed, stopped and started again."""

import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import redis
from redis.exceptions import RedisError

from tests.support.waiting import TIMEOUT_S, wait_until


class RedisServer:
    """One `redis-server` process, or a Sentinel, that keeps nothing on disk.

    Args:
        folder: Where it works.
        options: Lines of its configuration.
        program: `redis-server` or `redis-sentinel`.
        password: What a client has to tell, when the options ask for one.
    """

    def __init__(self, folder: Path, *options: str, program: str = "redis-server", password: str | None = None) -> None:
        self.folder = folder / f"{program}-{uuid4().hex[:8]}"
        self.folder.mkdir(parents=True)
        self.port = free_port()
        self._program = program
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.client = redis.Redis(port=self.port, password=password, socket_timeout=TIMEOUT_S)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        path = shutil.which(self._program)
        assert path is not None, f"{self._program} is not installed"
        lines = [f"port {self.port}", "bind 127.0.0.1", f'dir "{self.folder}"', 'logfile "log"', *self._options]
        if self._program == "redis-server":
            lines += ['save ""', "appendonly no"]
        config = self.folder / "redis.conf"
        if not config.exists():  # a Sentinel keeps there what it knows
            config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self._process = subprocess.Popen([path, str(config)], stdout=subprocess.DEVNULL)
        wait_until(self.answers, f"{self._program} on port {self.port} answers")

    def answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except (RedisError, OSError):
            return False

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> None:
        """Stop it in the middle of whatever it does (SIGSTOP)."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        self.kill()
        self.client.close()


@contextmanager
def redis_server(folder: Path, *options: str, password: str | None = None) -> Iterator[RedisServer]:
    """A started server, killed at the end."""
    server = RedisServer(folder, *options, password=password)
    try:
        server.start()
        yield server
    finally:
        server.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
