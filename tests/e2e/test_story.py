"""`make demo` and `make run` as a newcomer meets them: the story, what is printed to try, and how it ends."""

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.json_format import ParseDict
from google.protobuf.message_factory import GetMessageClass

import reback.inventory.v1.inventory_pb2
import reback.order.v1.order_pb2  # noqa: F401 both register their services

TIMEOUT_S = 60
OWN_PORTS = {"INVENTORY_LISTEN": "127.0.0.1:0", "ORDER_LISTEN": "127.0.0.1:0"}
GOODS = "sku,name,price_cents,currency,stock\ntea,Tea,690,EUR,1\n[/sale],Mug [xl] :tea:,900,JPY,1\n"


def environment(folder: Path, **settings: str) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("INVENTORY_", "ORDER_"))}
    return {**ours, "TMPDIR": str(folder), **settings}


def processes_in(folder: Path) -> list[psutil.Process]:
    """What runs in the folder or below it."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(folder):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def services_in(folder: Path) -> dict[str, psutil.Process]:
    """The running services, by module."""
    return {
        process.cmdline()[-1]: process for process in processes_in(folder) if process.cmdline()[-1].endswith("_srv")
    }


def ended_in(folder: Path, command: list[str], **settings: str) -> "subprocess.CompletedProcess[str]":
    """How a program ends that is started in the folder."""
    return subprocess.run(
        command,
        cwd=folder,
        env=environment(folder, **{**OWN_PORTS, **settings}),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


def program(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", f"scripts.{name}", *arguments]


@contextmanager
def running(folder: Path, *arguments: str, **settings: str) -> Iterator["subprocess.Popen[str]"]:
    """`make run` in a folder of its own; whatever a failing test leaves behind is killed."""
    process = subprocess.Popen(
        program("run", *arguments),
        cwd=folder,
        env=environment(folder, **{**OWN_PORTS, **settings}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()
        for left in processes_in(folder):
            left.kill()


def read_until(process: "subprocess.Popen[str]", end: str) -> str:
    assert process.stdout is not None
    read = ""
    while end not in read:
        line = process.stdout.readline()
        assert line, f"it ended with:\n{read}"
        read += line
    return read


def test_the_demo_holds_and_leaves_nothing_behind(tmp_path: Path) -> None:
    ended = subprocess.run(
        program("demo"), env=environment(tmp_path), capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "✗" not in ended.stdout
    assert ended.stdout.count("✓") == 12
    assert "NO_STOCK" in ended.stdout
    assert "asked 121, available 120" in ended.stdout
    assert "both calls got the same order" in ended.stdout
    assert re.search(r"created → sold \+.* → timeout set \+.* → closed \+3\.\d+ s → stock returned", ended.stdout)
    assert processes_in(tmp_path) == []
    assert list(tmp_path.iterdir()) == []


def test_a_demo_that_fails_exits_with_1_and_keeps_the_data(tmp_path: Path) -> None:
    with subprocess.Popen(
        program("demo"), env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        printed = read_until(process, "One is not paid")
        [kept] = tmp_path.glob("reback-demo-*")
        services_in(tmp_path)["order_srv"].kill()
        rest, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 1, printed + rest
    assert f"data and logs are kept in {kept}" in rest
    assert "NOT as claimed" in rest
    assert "Traceback" not in rest
    assert (kept / ".run" / "logs" / "order_srv.log").is_file()
    assert processes_in(tmp_path) == []


@pytest.mark.parametrize("name", ["demo", "run"])
def test_a_wrong_goods_file_is_told_before_anything_starts(name: str, tmp_path: Path) -> None:
    goods = tmp_path / "goods.csv"
    goods.write_text(GOODS + "tea,Tea,twelve,EUR,3\n")
    ended = ended_in(tmp_path, program(name, "--goods", str(goods)))
    assert ended.returncode == 2
    assert 'line 4, price_cents: "twelve"' in ended.stdout
    assert "nothing of it was loaded" in ended.stdout
    assert "NOT as claimed" not in ended.stdout
    assert list(tmp_path.iterdir()) == [goods]


def test_run_serves_after_the_story_what_it_prints_works_and_ctrl_c_leaves_no_process(tmp_path: Path) -> None:
    goods = tmp_path / "goods.csv"
    goods.write_text(GOODS)
    with running(tmp_path, "--goods", str(goods)) as process:
        printed = read_until(process, "ListMovements")
        assert "2 put in" in printed
        assert printed.count("✓") == 11
        assert "✗" not in printed
        [served] = re.findall(r"Serving until Ctrl-C: inventory on (\S+), order on (\S+)\. ", printed)
        assert all(f" {address} " in printed for address in served), "the calls to try go there"
        assert "0:30:00" in printed  # from now on people have half an hour to pay
        order = python_call(printed)
        assert "state: ORDER_STATE_UNPAID" in order
        assert "state: ORDER_STATE_PAID" in order
        answers = [grpcurl_call(line) for line in re.findall(r"^grpcurl .*$", printed, flags=re.MULTILINE)]
        assert len(answers) == 6
        assert set(services_in(tmp_path)) == {"inventory_srv", "order_srv"}
        process.send_signal(signal.SIGINT)
        rest, _ = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 0
        assert "stopped" in rest
        assert processes_in(tmp_path) == []
    with running(tmp_path, "--goods", str(goods)) as process:
        assert "0 put in; 2 were there already" in read_until(process, "goods:")
        process.send_signal(signal.SIGTERM)  # in the middle of the story
        process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 128 + signal.SIGTERM
        assert processes_in(tmp_path) == []


def python_call(printed: str) -> str:
    """Run the Python program that was printed; what it prints."""
    found = re.search(r"^\.venv/bin/python - <<'END'\n(.*?)^END$", printed, flags=re.MULTILINE | re.DOTALL)
    assert found
    return subprocess.run([sys.executable, "-"], input=found[1], capture_output=True, text=True, check=True).stdout


def grpcurl_call(line: str) -> object:
    """Do what grpcurl would do with its arguments; the answer."""
    word, plaintext, option, body, address, method = shlex.split(line)
    assert (word, plaintext, option) == ("grpcurl", "-plaintext", "-d")
    service, _, name = method.partition("/")
    described = descriptor_pool.Default().FindServiceByName(service).FindMethodByName(name)
    request = ParseDict(json.loads(body), GetMessageClass(described.input_type)())
    with grpc.insecure_channel(address) as channel:
        call: grpc.UnaryUnaryMultiCallable[Any, Any] = channel.unary_unary(
            f"/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(described.output_type).FromString,
        )
        return call(request, timeout=TIMEOUT_S)


@pytest.mark.parametrize(("dies", "when"), [("inventory_srv", "2 of"), ("order_srv", "Serving until Ctrl-C:")])
def test_run_ends_when_one_service_dies_and_stops_the_other(dies: str, when: str, tmp_path: Path) -> None:
    with running(tmp_path) as process:
        read_until(process, when)
        services_in(tmp_path)[dies].kill()
        rest, _ = process.communicate(timeout=TIMEOUT_S)
        assert process.returncode == 1
        assert f"{dies} died" in rest
        assert processes_in(tmp_path) == []


def test_a_port_in_use_is_told_and_nothing_is_left_running(tmp_path: Path) -> None:
    with closing(socket.socket()) as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        address = f"127.0.0.1:{holder.getsockname()[1]}"
        began = time.monotonic()
        with running(tmp_path, ORDER_LISTEN=address) as process:
            printed, _ = process.communicate(timeout=TIMEOUT_S)
            assert process.returncode == 2
            assert f"order_srv did not start: ORDER_LISTEN='{address}': can't listen on {address}" in printed
            assert processes_in(tmp_path) == []
        assert time.monotonic() - began < TIMEOUT_S
