"""`make bench`, made short: real processes, the books checked, and nothing left behind but its report."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.waiting import wait_until

TIMEOUT_S = 200


def bench(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run it to its end; when that takes too long, it is ended in order, so that its services end too."""
    command = [sys.executable, "-m", "scripts.bench", *arguments]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            out, err = process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.terminate()
            out, err = process.communicate(timeout=TIMEOUT_S)
            pytest.fail(f"it takes longer than {TIMEOUT_S} s:\n{out}{err}")
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def short_run(folder: Path, *chosen: str, processes: int) -> tuple[Path, dict[str, Any]]:
    """The folder and the JSON of a short run of these parts, whose books balance."""
    parts = [argument for part in chosen for argument in ("--only", part)]
    few = ("--skus", "20", "--due-orders", "30", "--largest", "1000", "--calls", "400", "--warm-up", "0.5")
    paced = ("--at-callers", "1", "--at-callers", "2", "--at-rate", "20")
    ended = bench(folder, *parts, *few, *paced, "--seconds", "0.5", "--rounds", "1", "--processes", str(processes))
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.count("books balance") >= len(chosen)
    assert "FAULTS" not in ended.stdout
    [written] = (folder / ".run" / "bench").iterdir()
    assert str(written.relative_to(folder)) in ended.stdout
    answer: dict[str, Any] = json.loads((written / "embedded.json").read_text())
    assert answer["world"] == "embedded"
    assert set(answer["parts"]) == set(chosen)
    for part in answer["parts"].values():
        assert part["book_faults"] == []
        assert part["machine"]["cores"] >= 1
        assert part["options"]["due_orders"] == 30
    return written, answer["parts"]


@pytest.mark.timeout(300)
def test_a_short_run_measures_checks_the_books_and_writes_what_it_saw(tmp_path: Path) -> None:
    folder, parts = short_run(tmp_path, "commits", "stock", "due", processes=2)
    figures = {figure["name"]: figure for part in parts.values() for figure in part["figures"]}
    assert figures["SQLite, p50"]["value"]["median"] > 0
    assert figures["Sell of one hot sku ÷ empty call"]["target"] == {"at_least": 0.5, "at_most": None, "aim": 0.7}
    assert figures["all orders closed after"]["samples"] == 30
    assert figures["all orders closed after"]["value"]["median"] > 0
    assert figures["processor time an order closed or created: service"]["value"]["median"] > 0
    loads = {load["name"]: load for load in parts["stock"]["loads"]}
    for name in ("empty call", "Sell, one hot sku", "Sell, 20 skus", "Sell, sold out: refused", "GetStock"):
        assert loads[name]["calls"] > 0
        assert 0 < loads[name]["p50"]["median"] <= loads[name]["p999"]["median"]
        for who in ("service", "inventory_srv", "load"):
            assert loads[name]["cpu"][who]["median"] > 0
    assert "| Sell of one hot sku ÷ empty call |" in (folder / "embedded.md").read_text()
    for ending in ("svg", "png"):
        assert (folder / "embedded" / f"latency-stock.{ending}").is_file()


@pytest.mark.timeout(300)
def test_orders_are_created_by_the_chosen_callers_and_at_the_chosen_rates(tmp_path: Path) -> None:
    folder, parts = short_run(tmp_path, "create", "paced", "getstock", processes=1)
    loads = {load["name"]: load for part in parts.values() for load in part["loads"]}
    assert {name for name in loads if name.startswith("CreateOrder")} == {
        "CreateOrder, 1 caller",
        "CreateOrder, 2 callers",
        "CreateOrder, at half of its most",
        "CreateOrder, 20 a second",
    }
    most = max(loads[name]["rate"]["median"] for name in ("CreateOrder, 1 caller", "CreateOrder, 2 callers"))
    assert 0 < loads["CreateOrder, at half of its most"]["rate"]["median"] < most
    assert 10 < loads["CreateOrder, 20 a second"]["rate"]["median"] < 25
    assert loads["GetStock of 20 skus, one caller"]["how"] == "1 caller, 1 connection"
    figures = {figure["name"]: figure for part in parts.values() for figure in part["figures"]}
    each = [
        figures[f"CreateOrder, 2 callers: processor time of {who}"]["value"]["median"]
        for who in ("order_srv", "inventory_srv", "all but the load")
    ]
    assert 0 < each[0] + each[1] == pytest.approx(each[2])
    assert figures["GetStock of 20 skus ÷ empty call"]["value"]["median"] > 0
    for plot in ("latency-create", "latency-paced"):
        assert (folder / "embedded" / f"{plot}.svg").is_file()


@pytest.mark.timeout(300)
def test_orders_come_due_by_messages_of_one_order_and_of_several(tmp_path: Path) -> None:
    _, parts = short_run(tmp_path, "duesingly", "duetogether", processes=1)
    for part in parts.values():
        figures = {figure["name"]: figure for figure in part["figures"]}
        assert figures["all their stock back after"]["samples"] == 30
        assert figures["orders closed in the first 25 s"]["samples"] == 30, "by their messages, not by the sweeper"
        assert figures["all their stock back ÷ all orders closed, time"]["value"]["median"] >= 1


GROWTH = {
    "growthwaiting": ["CreateOrder, 1,000 others waiting", "sweep with nothing due, 1,000 orders waiting"],
    "memory": ["inventory_srv, resident, most in 400 calls", "order_srv, resident, most in 400 calls"],
}


@pytest.mark.timeout(300)
def test_growth_and_memory_are_measured_on_balanced_books_and_drawn(tmp_path: Path) -> None:
    folder, parts = short_run(tmp_path, *GROWTH, processes=1)
    for part, names in GROWTH.items():
        figures = {figure["name"]: figure["value"]["median"] for figure in parts[part]["figures"]}
        assert all(figures[name] > 0 for name in names)
    for plot in ("growth-waiting", "growth-sweep", "memory"):
        assert (folder / "embedded" / f"{plot}.svg").is_file()


def services_in(folder: Path) -> int:
    """How many services run in a folder of this one."""
    found = 0
    for process in psutil.process_iter(["cmdline", "cwd"]):
        command, where = process.info["cmdline"] or [], process.info["cwd"] or ""
        found += command[-1:] in (["inventory_srv"], ["order_srv"]) and Path(where).is_relative_to(folder)
    return found


@pytest.mark.timeout(300)
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT], ids=lambda how: how.name)
def test_a_run_that_is_ended_early_keeps_what_it_has_measured(tmp_path: Path, how: signal.Signals) -> None:
    endless = ("--only", "commits", "--only", "stock", "--seconds", "100", "--rounds", "1", "--skus", "20")
    command = [sys.executable, "-u", "-m", "scripts.bench", *endless, "--publish"]
    published = tmp_path / "docs" / "benchmarks"
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:

        def measures_the_second() -> bool:
            """Or has ended by itself, which what it tells explains."""
            return process.poll() is not None or (
                (published / "embedded.json").is_file() and services_in(tmp_path) == 2
            )

        try:
            wait_until(measures_the_second, "the second part's services", TIMEOUT_S)
        finally:
            process.send_signal(how)
            out, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 128 + how, out + err
    assert f"ended by {how.name}\nnot measured: stock\n" in out
    assert "written: commits; all of it: docs/benchmarks" in out
    assert list(json.loads((published / "embedded.json").read_text())["parts"]) == ["commits"]
    assert "| SQLite, p50 |" in (published / "embedded.md").read_text()
    assert services_in(tmp_path) == 0
    assert list((tmp_path / ".run" / "bench").iterdir()) == []
