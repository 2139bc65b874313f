"""`python -m inventory_srv` and `python -m order_srv` as a person or a supervisor meets them."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.support.waiting import TIMEOUT_S

MODULES = ("inventory_srv", "order_srv")

T = TypeVar("T")

can_choose_its_cpu = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity"), reason="this system does not let a process choose its CPU"
)
every_service = pytest.mark.parametrize("module", MODULES)


def prefix_of(module: str) -> str:
    return module.removesuffix("_srv").upper()


def clean_environment(**settings: str) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("INVENTORY_", "ORDER_", "GRPC_"))}
    return {**ours, **settings}


@contextmanager
def started(module: str, folder: Path, **settings: str) -> Iterator["subprocess.Popen[str]"]:
    """The service as a process; stopped by force when a test leaves it running."""
    with (folder / "stderr.log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", module],
            cwd=folder,
            env=clean_environment(**settings),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ready_line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def run(module: str, folder: Path, **settings: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", module],
        cwd=folder,
        env=clean_environment(**settings),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


@every_service
@pytest.mark.parametrize("word", [signal.SIGTERM, signal.SIGINT])
def test_it_tells_its_port_serves_there_and_ends_with_0_when_told_to_stop(
    module: str, word: signal.Signals, tmp_path: Path
) -> None:
    with started(module, tmp_path, **{f"{prefix_of(module)}_LISTEN": "127.0.0.1:0"}) as process:
        line = ready_line(process)
        answer = re.fullmatch(rf"{module} ready on (127\.0\.0\.1:\d+)\n", line)
        assert answer, line
        with grpc.insecure_channel(answer[1]) as channel:
            health = health_pb2_grpc.HealthStub(channel)
            answer = health.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        process.send_signal(word)
        rest, _ = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 0
        assert rest == ""
        assert "Traceback" not in (tmp_path / "stderr.log").read_text()


def of_threads(process: "subprocess.Popen[str]", ask: Callable[[int], T]) -> list[T]:
    """What the system says of each thread of a process."""
    threads = []
    for thread in Path(f"/proc/{process.pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):  # it has ended since
            threads.append(ask(int(thread.name)))
    return threads


@can_choose_its_cpu
@every_service
def test_by_itself_it_keeps_to_a_cpu_with_all_its_threads_which_don_t_interrupt_each_other(
    module: str, tmp_path: Path
) -> None:
    with started(module, tmp_path, **{f"{prefix_of(module)}_LISTEN": "127.0.0.1:0"}) as process:
        ready_line(process)
        first, *others = of_threads(process, os.sched_getaffinity)
        policies = set(of_threads(process, os.sched_getscheduler))
    assert len(first) == 1
    assert first <= os.sched_getaffinity(0)
    assert len(others) >= 2  # there are some by then
    assert all(cpus == first for cpus in others)
    assert policies == {os.SCHED_BATCH}


@can_choose_its_cpu
@every_service
def test_told_a_cpu_it_runs_there_and_told_any_wherever_who_started_it_may(module: str, tmp_path: Path) -> None:
    allowed = os.sched_getaffinity(0)
    for choice, cpus in [(str(cpu), {cpu}) for cpu in sorted(allowed)[:2]] + [("any", allowed)]:
        settings = {f"{prefix_of(module)}_LISTEN": "127.0.0.1:0", f"{prefix_of(module)}_CPU": choice}
        with started(module, tmp_path, **settings) as process:
            ready_line(process)
            assert all(each == cpus for each in of_threads(process, os.sched_getaffinity)), choice


@every_service
def test_its_data_is_in_the_folder_it_was_started_in(module: str, tmp_path: Path) -> None:
    with started(module, tmp_path, **{f"{prefix_of(module)}_LISTEN": "127.0.0.1:0"}) as process:
        ready_line(process)
    assert (tmp_path / ".run" / f"{prefix_of(module).lower()}.db").is_file()


@every_service
def test_a_wrong_setting_stops_the_start_with_its_name_value_and_what_is_allowed(module: str, tmp_path: Path) -> None:
    ended = run(module, tmp_path, **{f"{prefix_of(module)}_THREADS": "many"})
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr == f"{prefix_of(module)}_THREADS='many': must be a whole number from 1 to 1024\n"
    assert not (tmp_path / ".run").exists()


@every_service
def test_a_wrong_setting_in_the_env_file_is_found_as_well(module: str, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"{prefix_of(module)}_LISTEN=nowhere\n")
    ended = run(module, tmp_path)
    assert ended.returncode == 2
    assert f"{prefix_of(module)}_LISTEN='nowhere'" in ended.stderr
    assert "host:port" in ended.stderr


@every_service
def test_a_port_in_use_stops_the_start_with_one_line_that_names_the_setting(module: str, tmp_path: Path) -> None:
    with closing(socket.socket()) as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        address = f"127.0.0.1:{holder.getsockname()[1]}"
        began = time.monotonic()
        ended = run(module, tmp_path, **{f"{prefix_of(module)}_LISTEN": address})
        assert time.monotonic() - began < TIMEOUT_S
    assert ended.returncode == 2
    assert ended.stdout == ""
    blamed = f"{prefix_of(module)}_LISTEN='{address}': can't listen on {address}"
    said = [line for line in ended.stderr.splitlines() if not line.startswith("{")]  # but for the log
    cure = "choose another, or port 0 for a free one"
    assert said == [f"{blamed}: the port is taken, or this machine has no such address; {cure}"]


def test_grpc_says_what_it_has_to_say_when_it_is_asked(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as holder:
        address = f"127.0.0.1:{holder.getsockname()[1]}"
        ended = run("inventory_srv", tmp_path, INVENTORY_LISTEN=address, GRPC_VERBOSITY="ERROR")
    assert "Failed to add port to server" in ended.stderr


@every_service
def test_a_word_to_stop_while_it_starts_is_not_lost(module: str, tmp_path: Path) -> None:
    with started(module, tmp_path, **{f"{prefix_of(module)}_LISTEN": "127.0.0.1:0"}) as process:
        wait_for_log(tmp_path, process)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 0


def wait_for_log(folder: Path, process: "subprocess.Popen[str]") -> None:
    """Wait until the service has opened its data: it is past its imports and not ready yet."""
    deadline = time.monotonic() + TIMEOUT_S
    while not any((folder / ".run").glob("*.db")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.001)
