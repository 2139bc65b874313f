"""Two signals, close together and at any moment: `make run`, `make demo` and the services leave nothing behind.

A few moments usually, two hundred in the long form.
"""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.test_story import OWN_PORTS, environment, processes_in, program, read_until, running
from tests.support.long_form import rounds

TRIES = rounds(short=8, long=200)
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
APART_S = 0.01
TIMEOUT_S = 60
# What is printed before the moment, and how long after it the moment may be at most: services start, the story restarts
# one, or nothing special happens.
MOMENTS = (("starting", 3.0), ("stock of story-honey", 2.0), ("starting", 0.5), ("2. One is not paid", 1.0))


def tries() -> list[tuple[str, float, signal.Signals, signal.Signals]]:
    chance = random.Random(20260101)
    found = []
    for number in range(TRIES):
        line, longest = MOMENTS[number % len(MOMENTS)]
        found.append((line, round(chance.uniform(0, longest), 3), chance.choice(SIGNALS), chance.choice(SIGNALS)))
    return found


@pytest.mark.parametrize(("line", "after_s", "first", "second"), tries())
def test_two_signals_at_any_moment_leave_nothing_behind(
    line: str, after_s: float, first: signal.Signals, second: signal.Signals, tmp_path: Path
) -> None:
    with running(tmp_path) as process:
        read_until(process, line)
        time.sleep(after_s)  # the moment is what is tried
        process.send_signal(first)
        time.sleep(APART_S)
        process.send_signal(second)
        rest, _ = process.communicate(timeout=TIMEOUT_S)
        assert processes_in(tmp_path) == []
    assert process.returncode == (0 if first is signal.SIGINT else 128 + first), rest
    assert "stopped; the shop's data is kept" in rest
    for fault in ("Traceback", "in order", "exit code", "failed", "died"):
        assert fault not in rest


def test_two_signals_leave_nothing_of_the_demo(tmp_path: Path) -> None:
    command = program("demo")
    with subprocess.Popen(
        command, env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        read_until(process, "1. An order")
        for number in (signal.SIGTERM, signal.SIGINT):
            process.send_signal(number)
        rest, _ = process.communicate(timeout=TIMEOUT_S)
    assert processes_in(tmp_path) == []
    assert list(tmp_path.iterdir()) == []
    assert process.returncode == 128 + signal.SIGTERM
    assert "stopped; nothing of it is left" in rest
    assert "Traceback" not in rest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("module", ["inventory_srv", "order_srv", "scripts.run", "scripts.demo"])
def test_a_signal_while_a_program_is_imported_ends_it_at_once_and_quietly(
    module: str, number: signal.Signals, tmp_path: Path
) -> None:
    command = [sys.executable, "-X", "importtime", "-m", module]  # it tells what it imports
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment(tmp_path), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stderr
        while "common.process.stop_signal" not in (line := process.stderr.readline()):
            assert line, "it ended"
        while "pydantic" not in (line := process.stderr.readline()):
            assert line, "it ended"
        for _ in range(2):
            process.send_signal(number)
        rest = process.stderr.read()
        process.wait(TIMEOUT_S)
    assert process.returncode == -number
    assert "Traceback" not in rest
    assert "KeyboardInterrupt" not in rest
    assert list(tmp_path.iterdir()) == []


def test_whoever_reads_what_is_printed_may_go_away(tmp_path: Path) -> None:
    with subprocess.Popen(
        program("run"),
        cwd=tmp_path,
        env=environment(tmp_path, **OWN_PORTS),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        read_until(process, "starting")
        assert process.stdout
        assert process.stderr
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(TIMEOUT_S) == 1
    assert processes_in(tmp_path) == []
