"""Redis servers and Sentinels of a test's own: they can be killed, stopped and started again."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final
from uuid import uuid4

import redis
from redis.exceptions import RedisError

from tests.support.ports import free_port
from tests.support.server_process import ServerProcess
from tests.support.waiting import TIMEOUT_S, wait_until

_LARGEST_OF_CLUSTER: Final = 55_535  # so that a member of a cluster can have its second port


class RedisServer(ServerProcess):
    """One `redis-server` process, or a Sentinel, that keeps nothing on disk.

    Args:
        folder: Where it works.
        options: Lines of its configuration.
        program: `redis-server` or `redis-sentinel`.
        password: What a client needs when the options ask for one.
    """

    def __init__(self, folder: Path, *options: str, program: str = "redis-server", password: str | None = None) -> None:
        super().__init__(folder / f"{program}-{uuid4().hex[:8]}")
        self.port = free_port(_LARGEST_OF_CLUSTER)
        self._program = program
        self._options = options
        self.client = redis.Redis(port=self.port, password=password, socket_timeout=TIMEOUT_S)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        path = shutil.which(self._program)
        assert path is not None, f"{self._program} is not installed"
        lines = [f"port {self.port}", "bind 127.0.0.1", f'dir "{self.folder}"', *self._options]
        if self._program == "redis-server":
            lines += ['save ""', "appendonly no"]
        config = self.folder / "redis.conf"
        if not config.exists():  # a Sentinel keeps there what it knows
            config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        self._run([path, str(config)])
        wait_until(self.answers, f"{self._program} on port {self.port} answers")

    def answers(self) -> bool:
        try:
            return bool(self.client.ping())
        except (RedisError, OSError):
            return False

    def close(self) -> None:
        super().close()
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
