"""The local cluster as a user has it: from nothing to both services healthy, through trouble, to nothing again."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from random import Random

import grpc
import psutil
import pytest

from reback.inventory.v1.inventory_pb2 import GetStockRequest, SetStockRequest
from reback.inventory.v1.inventory_pb2_grpc import InventoryServiceStub
from scripts.cluster.cluster import Cluster
from scripts.cluster.leftovers import processes
from scripts.cluster.ports import Ports, PortTaken, check_free
from tests.support.waiting import wait_until

_TIMEOUT_S = 240.0  # engines and services on a machine that runs other suites too


class Site:
    """A cluster that is told what to do as users tell it.

    Attributes:
        cluster: The same, to look into.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.base = _free_block()
        self.cluster = Cluster(folder, Ports.block(self.base))

    def tell(self, verb: str, *arguments: str) -> str:
        """Carry out a verb, which has to succeed; what it printed."""
        done = self.run(verb, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def run(self, verb: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "scripts.cluster", verb, f"--folder={self.folder}", *arguments]
        return subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)

    def up(self) -> str:
        return self.tell("up", f"--ports={self.base}")

    def pids(self) -> dict[str, int]:
        return {each.name: each.pid for each in self.cluster.status()}

    def inventory(self, replica: int) -> InventoryServiceStub:
        return InventoryServiceStub(grpc.insecure_channel(f"127.0.0.1:{self.cluster.ports.inventory[replica]}"))


def _free_block() -> int:
    chance = Random()
    while True:
        base = chance.randrange(20_000, 32_000, 100)
        ports = Ports.block(base)
        with suppress(PortTaken):
            check_free([("any", port) for port in range(base, ports.consul_raft + 1)])
            return base


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path / "cluster")
    try:
        yield made
    finally:
        made.cluster.down(purge=True)


@pytest.mark.timeout(1200)
def test_a_cluster_comes_up_survives_and_goes_away(site: Site) -> None:
    site.up()
    pids = site.pids()
    assert len(pids) == 9
    assert all(pids.values())
    assert site.tell("status").count("healthy") == 9
    assert _heard_outside(site.folder) == set()

    site.up()  # twice is harmless
    assert site.pids() == pids

    site.inventory(0).SetStock(SetStockRequest(sku="tea", quantity=7), timeout=10)
    assert site.inventory(1).GetStock(GetStockRequest(sku="tea"), timeout=10).available == 7

    _whoever_is_killed_comes_back(site)
    assert "order_srv ready on" in site.tell("logs", "order-1")

    _nothing_is_left_when_the_supervisor_was_killed(site)

    site.up()  # its data is there still
    assert site.inventory(1).GetStock(GetStockRequest(sku="tea"), timeout=10).available == 7
    site.tell("down")
    assert processes(site.folder) == []
    site.tell("down", "--purge")
    assert not site.folder.exists()


def _heard_outside(folder: Path) -> set[str]:
    """Where the cluster listens that others than this machine could reach."""
    connections = [connection for each in processes(folder) for connection in each.net_connections("inet")]
    listening = [each for each in connections if each.laddr and (each.status == psutil.CONN_LISTEN or not each.raddr)]
    assert len(listening) >= 15
    return {each.laddr.ip for each in listening} - {"127.0.0.1", "::ffff:127.0.0.1", "::1"}


def _whoever_is_killed_comes_back(site: Site) -> None:
    for name in ("order-1", "redis"):
        before = site.cluster.pid(name)
        site.cluster.kill_once(name)
        wait_until(partial(_has_another_pid, site, name, before), f"{name} is started again", _TIMEOUT_S)
        site.cluster.wait_healthy(name)
    site.cluster.kill("rocketmq-broker")
    answer = site.run("status")
    assert answer.returncode == 1
    assert "stopped" in answer.stdout
    site.up()  # starts what does not run
    assert site.cluster.pid("rocketmq-broker")


def _has_another_pid(site: Site, name: str, before: int) -> bool:
    return site.cluster.pid(name) not in {0, before}


def _nothing_is_left_when_the_supervisor_was_killed(site: Site) -> None:
    os.kill(int((site.folder / "supervisord.pid").read_text()), signal.SIGKILL)
    assert len(processes(site.folder)) >= 9
    assert "ended what was left" in site.tell("down")
    assert processes(site.folder) == []


def test_a_taken_port_is_named_and_nothing_is_started(site: Site) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", site.cluster.ports.redis))
        other.listen()
        refused = site.run("up", f"--ports={site.base}")
    assert refused.returncode == 1
    name = psutil.Process().name()
    port = site.cluster.ports.redis
    assert f"port {port}, for redis, is taken by {name} (pid {os.getpid()})" in refused.stdout
    assert processes(site.folder) == []
