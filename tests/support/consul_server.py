"""A Consul agent of a test's own: it can be killed, stopped and started again, with its data or without.

It is the program of the engines' cache, or else the one on the path.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import requests

from scripts.cluster.install import engine_cache
from tests.support.ports import free_port
from tests.support.server_process import ServerProcess
from tests.support.waiting import wait_until


class ConsulServer(ServerProcess):
    """One `consul agent` that is a cluster by itself.

    Args:
        folder: Where it works.
        config: Over its own configuration.
        token: What a client needs when the configuration asks for one.
        https: Whether it also serves TLS, at `https_port`; the configuration says with which files.
    """

    def __init__(
        self, folder: Path, config: dict[str, Any] | None = None, token: str = "", *, https: bool = False
    ) -> None:
        super().__init__(folder / f"consul-{uuid4().hex[:8]}")
        self.port = free_port()
        self.https_port = free_port() if https else -1
        self.session = requests.Session()
        self.session.trust_env = False
        if token:
            self.session.headers["X-Consul-Token"] = token
        self._config = _configuration(self.port, self.https_port, self.folder / "data") | (config or {})

    @property
    def url(self) -> str:
        return f"consul://127.0.0.1:{self.port}"

    def start(self, *, forget: bool = False) -> None:
        """Start it, with what it knew or, to `forget`, with an empty folder; wait until it answers."""
        if forget:
            shutil.rmtree(self.folder / "data", ignore_errors=True)
        file = self.folder / "config.json"
        file.write_text(json.dumps(self._config), encoding="utf-8")
        self._run([consul_program(), "agent", "-config-file", str(file)])
        wait_until(self.answers, f"Consul on port {self.port} answers; its log is in {self.folder}")

    def get(self, path: str) -> Any:
        """What it answers to a question, such as `agent/services`."""
        answer = self.session.get(f"http://127.0.0.1:{self.port}/v1/{path}", timeout=5)
        answer.raise_for_status()
        return answer.json()

    def put(self, path: str, body: Any = None) -> Any:
        answer = self.session.put(f"http://127.0.0.1:{self.port}/v1/{path}", json=body, timeout=5)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def passing(self, service: str) -> set[str]:
        """The addresses of a service whose checks pass: those that it would tell."""
        entries = self.get(f"health/service/{service}?passing=1")
        return {f"{each['Service']['Address']}:{each['Service']['Port']}" for each in entries}

    def answers(self) -> bool:
        """Whether it leads, and so answers what services ask."""
        try:
            return bool(self.get("status/leader")) and isinstance(self.get("health/service/consul"), list)
        except requests.RequestException:
            return False

    def close(self) -> None:
        super().close()
        self.session.close()


@contextmanager
def consul_server(
    folder: Path, config: dict[str, Any] | None = None, token: str = "", *, https: bool = False
) -> Iterator[ConsulServer]:
    """A started agent, killed at the end."""
    server = ConsulServer(folder, config, token, https=https)
    try:
        server.start()
        yield server
    finally:
        server.close()


def _configuration(port: int, https_port: int, data: Path) -> dict[str, Any]:
    off = dict.fromkeys(("dns", "grpc", "grpc_tls", "serf_wan"), -1)
    return {
        "server": True,
        "bootstrap_expect": 1,
        "node_name": "test",
        "data_dir": str(data),
        "bind_addr": "127.0.0.1",
        "client_addr": "127.0.0.1",
        "disable_update_check": True,
        "performance": {"raft_multiplier": 1},
        "ports": {"http": port, "https": https_port, "serf_lan": free_port(), "server": free_port(), **off},
    }


def consul_program() -> str:
    """The program's path."""
    built = engine_cache.consul_program()
    found = str(built) if built.is_file() else shutil.which("consul")
    assert found is not None, f"there is no Consul: neither {built} nor on the path"
    return found
