import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest

from scripts.lib.services import Closed, Service, Services
from scripts.lib.signals import signals_held_back


@pytest.fixture(autouse=True)
def ctrl_c_interrupts() -> Iterator[None]:
    """As it does unless whoever started the tests ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_service_whose_start_is_interrupted_does_not_run_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def interrupted(*arguments: Any, **options: Any) -> "subprocess.Popen[bytes]":
        started.append(start(*arguments, **options))
        signal.raise_signal(signal.SIGINT)  # it runs already, and who starts it does not have it yet
        return started[0]

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    service = Service("inventory_srv", tmp_path, tmp_path / "log", {})
    try:
        with pytest.raises(KeyboardInterrupt):
            service.start()
        service.kill()
        assert not psutil.pid_exists(started[0].pid)
    finally:
        started[0].kill()
        started[0].wait()


def test_a_service_that_is_told_to_stop_while_it_starts_has_stopped_in_order(tmp_path: Path) -> None:
    service = Service("inventory_srv", tmp_path, tmp_path / "log", {})
    service.spawn()  # it begins to import
    try:
        service.stop()
        assert not psutil.pid_exists(service.pid)
        assert service.log.read_text() == ""
    finally:
        service.kill()


def test_two_threads_may_stop_a_service_at_once(tmp_path: Path) -> None:
    service = Service("inventory_srv", tmp_path, tmp_path / "log", {"INVENTORY_LISTEN": "127.0.0.1:0"})
    service.start()
    with ThreadPoolExecutor(2) as threads:
        for stopping in [threads.submit(service.stop) for _ in range(2)]:
            stopping.result()


def test_services_that_were_closed_start_nothing(tmp_path: Path) -> None:
    services = Services(tmp_path, {})
    services.close()
    with pytest.raises(Closed), services:
        pass
    assert list(tmp_path.iterdir()) == []


def test_the_first_signal_unwinds_a_program_and_another_one_does_not_interrupt_that() -> None:
    program = """
import os, signal
from scripts.lib.signals import leave_in_order_on_signals
leave_in_order_on_signals()
try:
    os.kill(os.getpid(), signal.SIGTERM)
finally:
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        os.kill(os.getpid(), each)
    print("cleaned up")
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (128 + signal.SIGTERM, "cleaned up\n", "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_ends_what_the_work_has_started_and_interrupts_nothing(number: signal.Signals) -> None:
    program = f"""
import atexit, os, threading
from scripts.lib.signals import run_until_signal
ended = threading.Event()
def work():
    for _ in range(3):
        os.kill(os.getpid(), {int(number)})
    assert ended.wait(30)
    print("unwound")
    return 7
print(*map(int, run_until_signal(work, end=ended.set)))
atexit.register(os.kill, os.getpid(), {int(number)})
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"unwound\n{128 + number} {int(number)}\n", "")


def test_a_signal_takes_effect_at_the_end_of_the_block() -> None:
    reached = 0

    def two_signals() -> None:
        nonlocal reached
        with signals_held_back():
            for _ in range(2):
                signal.raise_signal(signal.SIGINT)
                reached += 1

    with pytest.raises(KeyboardInterrupt):
        two_signals()
    assert reached == 2
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_in_the_block_goes_on_when_no_signal_came() -> None:
    with pytest.raises(OSError, match="no such program"), signals_held_back():
        raise OSError("no such program")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_what_is_ignored_stays_so() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with signals_held_back():
            signal.raise_signal(signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_another_thread_has_nothing_to_hold_back() -> None:
    failed: list[BaseException] = []

    def hold() -> None:
        try:
            with signals_held_back():
                pass
        except BaseException as error:  # noqa: BLE001 the test tells it
            failed.append(error)

    thread = threading.Thread(target=hold)
    thread.start()
    thread.join()
    assert failed == []
