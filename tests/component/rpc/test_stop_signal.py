import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest

from reback.inventory.v1 import inventory_pb2, inventory_pb2_grpc
from tests.support.waiting import TIMEOUT_S

SLOW_SERVER = Path(__file__).with_name("slow_server.py")

Start = Callable[[float, int], subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts the program of `slow_server.py` with its arguments."""
    started: list[subprocess.Popen[str]] = []

    def run(seconds: float, threads: int) -> subprocess.Popen[str]:
        command = [sys.executable, str(SLOW_SERVER), str(seconds), str(threads)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def address_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().removeprefix("ready on ").strip()


class Caller:
    """Calls one after the other until it is refused."""

    def __init__(self, address: str, name: str) -> None:
        # tried once, on a connection of its own: what is lost is seen
        options = (("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1))
        self._channel = grpc.insecure_channel(address, options=options)
        self._name = name
        self.answered: list[str] = []
        self.refused: list[grpc.StatusCode] = []
        self.busy = threading.Event()

    def run(self) -> None:
        stub = inventory_pb2_grpc.InventoryServiceStub(self._channel)
        with self._channel:
            while not self.refused:
                sku = f"{self._name}-{len(self.answered)}"
                try:
                    stub.GetStock(inventory_pb2.GetStockRequest(sku=sku), timeout=TIMEOUT_S)
                except grpc.RpcError as error:
                    self.refused.append(error.code())
                else:
                    self.answered.append(sku)
                    self.busy.set()


@pytest.mark.parametrize(("seconds", "threads"), [(0.0, 64), (0.05, 64), (0.02, 4)])
def test_pitfall_17_sigterm_finishes_calls_in_flight(start: Start, seconds: float, threads: int) -> None:
    process = start(seconds, threads)
    address = address_of(process)
    callers = [Caller(address, f"caller-{n}") for n in range(32)]
    with ThreadPoolExecutor(32) as pool:
        running = [pool.submit(caller.run) for caller in callers]
        for caller in callers:
            assert caller.busy.wait(TIMEOUT_S)
        process.send_signal(signal.SIGTERM)
        for each in running:
            each.result(TIMEOUT_S)
    output, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0
    answered = [sku for caller in callers for sku in caller.answered]
    assert sorted(answered) == sorted(output.split())  # what was handled was answered
    assert {code for caller in callers for code in caller.refused} == {grpc.StatusCode.UNAVAILABLE}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_server_ends_with_0(start: Start, number: signal.Signals) -> None:
    process = start(0, 4)
    address_of(process)
    process.send_signal(number)
    assert process.wait(TIMEOUT_S) == 0


def test_the_second_signal_ends_at_once(start: Start) -> None:
    process = start(TIMEOUT_S, 4)
    stub = inventory_pb2_grpc.InventoryServiceStub(channel := grpc.insecure_channel(address_of(process)))
    with channel:
        call = stub.GetStock.future(inventory_pb2.GetStockRequest(sku="slow"), timeout=TIMEOUT_S)
        other = stub.GetStock.future(inventory_pb2.GetStockRequest(sku=""), timeout=TIMEOUT_S)
        assert other.exception(TIMEOUT_S) is not None  # refused, so the slow one has arrived as well
        process.send_signal(signal.SIGTERM)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.5)  # it waits for the call
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT_S / 3) == -signal.SIGTERM
        call.cancel()


def test_a_signal_during_the_start_is_not_lost() -> None:
    program = """
import os, signal
from common.process.stop_signal import StopSignal
stop = StopSignal()
assert not stop.wait(0)
os.kill(os.getpid(), signal.SIGTERM)
assert stop.wait(30)
assert stop.wait()
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=TIMEOUT_S, check=False).returncode == 0


def test_a_signal_that_does_not_wake_the_waiting_thread_is_not_lost() -> None:
    # It wakes nobody when the kernel gives it to another thread, or just before the wait begins.
    program = """
import signal, threading, time
from common.process.stop_signal import StopSignal
stop = StopSignal()
def deliver():
    time.sleep(0.2)  # the main thread waits by then
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
threading.Thread(target=deliver).start()
assert stop.wait()
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=TIMEOUT_S, check=False).returncode == 0


def test_a_signal_is_heard_wherever_it_interrupts_the_wait() -> None:
    program = """
import faulthandler, os, signal, sys
from common.process.stop_signal import StopSignal

def signal_after(steps):
    def count(*_):
        nonlocal steps
        steps -= 1
        if steps == 0:
            os.kill(os.getpid(), signal.SIGTERM)
    return count

faulthandler.dump_traceback_later(30, exit=True)  # a deadlock
for steps in range(1, 60):  # calls and returns of functions
    stop = StopSignal()
    sys.setprofile(signal_after(steps))
    while not stop.wait(0):
        pass
    sys.setprofile(None)
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=2 * TIMEOUT_S, check=False).returncode == 0
