"""The replicas of both services: their settings, and when they can be called."""

import os
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from inventory_srv.bootstrap import SERVICE as INVENTORY_SERVICE
from order_srv.bootstrap import SERVICE as ORDER_SERVICE
from scripts.cluster.engines import consul, mariadb
from scripts.cluster.ports import Ports
from scripts.cluster.program import INVENTORY, ORDER, Program
from scripts.lib.cpus import cpu_of_replica

_ASK_WITHIN_S: Final = 3
_PREFIXES: Final = ("INVENTORY_", "ORDER_")
_OWN: Final = ("_LISTEN",)  # each replica has ports of its own: nobody sets these for all


def settings_from_environment() -> Mapping[str, str]:
    """The services' settings in this process's environment, but for the ports."""
    return {name: value for name, value in os.environ.items() if name.startswith(_PREFIXES) and not name.endswith(_OWN)}


def services(folder: Path, ports: Ports, settings: Mapping[str, str]) -> list[Program]:
    """Two replicas of each service.

    Args:
        folder: Each has a folder of its own in it.
        ports: Of the cluster.
        settings: Variables for all of them, over those by which they find the engines.
    """
    replicas = [
        *zip(ports.inventory, ports.inventory_metrics, strict=True),
        *zip(ports.order, ports.order_metrics, strict=True),
    ]
    kinds = [INVENTORY] * len(ports.inventory) + [ORDER] * len(ports.order)
    numbers = [*range(1, len(ports.inventory) + 1), *range(1, len(ports.order) + 1)]
    return [
        _service(folder / f"{kind}-{number}", kind, port, metrics, ports, {**_cpu(kind, number), **settings})
        for kind, number, (port, metrics) in zip(kinds, numbers, replicas, strict=True)
    ]


def _service(  # noqa: PLR0917 - what its caller has, in its order
    folder: Path, kind: str, port: int, metrics: int, ports: Ports, settings: Mapping[str, str]
) -> Program:
    prefix = f"{kind.upper()}_"
    found = _engines(kind, ports) | {name: value for name, value in settings.items() if name.startswith(prefix)}
    found |= {f"{prefix}LISTEN": f"127.0.0.1:{port}", f"{prefix}METRICS_LISTEN": f"127.0.0.1:{metrics}"}
    return Program(
        name=folder.name,
        group=kind,
        command=[sys.executable, "-m", f"{kind}_srv"],
        folder=folder,
        address=f"127.0.0.1:{port}",
        ports=[port, metrics],
        files={".env": "".join(f"{name}={_quoted(value)}\n" for name, value in sorted(found.items()))},
        trouble=partial(trouble, kind, port, ports.consul),
    )


def _cpu(kind: str, number: int) -> dict[str, str]:
    return {f"{kind.upper()}_CPU": cpu_of_replica(kind, number - 1)}


def _engines(kind: str, ports: Ports) -> dict[str, str]:
    found = {
        "DATABASE_URL": f"{mariadb.url(ports.mysql)}/{kind}",
        "BROKER_URL": f"rocketmq://127.0.0.1:{ports.proxy}?nameserver=127.0.0.1:{ports.nameserver}",
        "DISCOVERY_URL": f"consul://127.0.0.1:{ports.consul}",
        "LOG_FORMAT": "json",
    }
    if kind == INVENTORY:
        found["LOCK_URL"] = found["CACHE_URL"] = f"redis://127.0.0.1:{ports.redis}/0"
    return {f"{kind.upper()}_{name}": value for name, value in found.items()}


def _quoted(value: str) -> str:
    """As python-dotenv reads it."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def trouble(kind: str, port: int, consul_port: int) -> str:
    """Ask its own health check, then whether callers find it in the registry."""
    address = f"127.0.0.1:{port}"
    with grpc.insecure_channel(address) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=_ASK_WITHIN_S)
        except grpc.RpcError as error:
            return f"its health check answers {error.code().name}: {error.details()}"
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        return f"its health check answers {health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status)}"
    service = INVENTORY_SERVICE if kind == INVENTORY else ORDER_SERVICE
    if address not in consul.passing(consul_port, service):
        return f"it serves, but is not among those of {service} that pass in Consul"
    return ""
