"""Consul: how it is set up, started and asked."""

import json
from functools import partial
from pathlib import Path
from typing import Final

import consul
import requests

from scripts.cluster.install.engine_cache import consul_program
from scripts.cluster.program import ENGINES, CannotRun, Program

NAME: Final = "consul"
_ASK_WITHIN_S: Final = 3
_OFF: Final = -1


def consul_server(folder: Path, http: int, serf: int, raft: int) -> Program:
    """A single server; it elects itself, and asks nobody outside this machine for anything."""
    if not consul_program().is_file():
        raise CannotRun("Consul is not installed: `make cluster-install` installs it")
    configuration = {
        "server": True,
        "bootstrap_expect": 1,
        "node_name": "reback",
        "datacenter": "local",
        "bind_addr": "127.0.0.1",
        "client_addr": "127.0.0.1",
        "data_dir": str(folder / "data"),
        "ports": {
            "http": http,
            "serf_lan": serf,
            "server": raft,
            "serf_wan": _OFF,
            "dns": _OFF,
            "grpc": _OFF,
            "grpc_tls": _OFF,
        },
        "performance": {"raft_multiplier": 1},  # after a restart it elects itself within about 2 s, not 10
        "disable_update_check": True,
        "disable_anonymous_signature": True,
        "log_level": "warn",
    }
    return Program(
        name=NAME,
        group=ENGINES,
        command=[str(consul_program()), "agent", f"-config-file={folder}/consul.json"],
        folder=folder,
        address=f"127.0.0.1:{http}",
        ports=[http, serf, raft],
        files={"consul.json": json.dumps(configuration, indent=2) + "\n"},
        trouble=partial(trouble, http),
    )


def trouble(http: int) -> str:
    """It serves once it has elected itself, and the catalog answers."""
    client = consul.Consul("127.0.0.1", http, consistency="consistent")
    try:
        client.catalog.services()
    except (consul.ConsulException, requests.RequestException) as error:
        return str(error)
    finally:
        client.http.session.close()
    return ""


def passing(http: int, service: str) -> set[str]:
    """`host:port` of every instance of `service` that passes its checks; nobody when Consul is out of reach."""
    client = consul.Consul("127.0.0.1", http)
    try:
        _, entries = client.health.service(service, passing=True)
    except (consul.ConsulException, requests.RequestException):
        return set()
    finally:
        client.http.session.close()
    return {f"{entry['Service']['Address']}:{entry['Service']['Port']}" for entry in entries}
