import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from scripts.lib.services import Service
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
