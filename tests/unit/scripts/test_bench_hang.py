"""A service that hangs for a while: it is stopped, goes on in any case, and orders are counted around that moment."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from scripts.bench.harness import replicas
from scripts.bench.harness.replicas import INVENTORY, Replicas
from scripts.bench.harness.worlds import Embedded
from scripts.bench.parts.hang import WINDOW_S, answered
from tests.support.waiting import wait_until


class Sleeper:
    """A service that only sleeps."""

    def __init__(self, module: str, *_: object) -> None:
        self.module = module
        self.address = ""

    def start(self) -> None:
        self._process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        self.pid = self._process.pid
        self.address = f"127.0.0.1:{self.pid}"

    def check(self) -> None:
        assert self._process.poll() is None

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    stop = kill


@contextmanager
def two_that_sleep(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Replicas]:
    monkeypatch.setattr(replicas, "Service", Sleeper)
    services = Replicas(Embedded(), folder / "part")
    services.new_databases()
    try:
        services.start(INVENTORY, 1, {})
        services.start(INVENTORY, 1, {})
        yield services
    finally:
        services.kill()


def stands_still(pid: int) -> bool:
    return bool(psutil.Process(pid).status() == psutil.STATUS_STOPPED)


def test_one_replica_hangs_and_goes_on_whatever_happens_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with two_that_sleep(tmp_path, monkeypatch) as services:
        one, other = services.running

        def let_it_hang() -> None:
            with services.hung(other.address):
                wait_until(lambda: stands_still(other.pid), "it hangs")
                assert not stands_still(one.pid)
                raise RuntimeError("ended")

        with pytest.raises(RuntimeError, match="ended"):
            let_it_hang()
        wait_until(lambda: not stands_still(other.pid), "it goes on")


def test_orders_are_counted_before_a_replica_hangs_and_in_two_windows_after_it() -> None:
    hung = 1000.0
    moments = [hung - WINDOW_S - 0.1, hung - WINDOW_S, hung - 0.1, hung, hung + 2 * WINDOW_S - 0.1, hung + 2 * WINDOW_S]
    assert answered(moments, hung) == (2, 1, 1)
