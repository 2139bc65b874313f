"""What a comparison of two commits says: ratios of each turn, and what is told of them."""

import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from scripts.bench.against.comparison import compared, ratio
from scripts.bench.against.tables import grids, page
from scripts.bench.against.turns import in_turn
from scripts.bench.harness.checkout import ROOT, CannotCompare, Checkout
from scripts.bench.harness.figures import Figure, Load, Spread
from scripts.bench.parts.catalog import PARTS

FACTS = {"time": "2030-01-02T03:04:05+00:00", "processor": "A Processor", "cores": 2, "memory_gb": 8.0}


def load(name: str, rates: Sequence[float], service: Sequence[float], engines: Sequence[float]) -> dict[str, Any]:
    cpu = {"service": service, "engines": engines, "load": [90.0] * len(rates), "order_srv": service, "redis": engines}
    spreads = {who: Spread.of(values) for who, values in cpu.items()}
    times = Spread.of([1000 / rate for rate in rates])
    return asdict(Load("part", name, "64 callers", Spread.of(rates), times, times, times, spreads, (), 100))


def side(*loads: dict[str, Any], figures: Sequence[Figure] = (), faults: Sequence[str] = ()) -> dict[str, Any]:
    return {"loads": list(loads), "figures": [each.as_json() for each in figures], "book_faults": list(faults)}


NEW = side(
    load("Sell", [110, 300, 90], [50, 60, 70], [10, 20, 30]),
    load("new alone", [1, 1, 1], [1, 1, 1], [1, 1, 1]),
    figures=[Figure("part", "orders closed", Spread.of([3.0, 3.0, 3.0]), "a second", 3)],
)
OLD = side(
    load("Sell", [100, 200, 100], [100, 60, 100], [30, 20, 60]),
    figures=[Figure("part", "orders closed", Spread.of([2.0, 0.0, 3.0]), "a second", 3)],
    faults=["a unit is missing"],
)


def test_a_ratio_is_made_within_each_turn_and_its_range_is_that_of_the_turns() -> None:
    found = ratio([110, 300, 90], [100, 200, 100])
    assert found is not None
    assert (found.values, found.median, found.low, found.high) == ((1.1, 1.5, 0.9), 1.1, 0.9, 1.5)


def test_a_ratio_to_nothing_is_none() -> None:
    assert ratio([1.0, 2.0], [1.0, 0.0]) is None


def test_sides_of_different_length_are_no_pairs() -> None:
    with pytest.raises(ValueError, match="2 turns can't be compared with 1"):
        ratio([1.0, 2.0], [1.0])


def test_rates_latencies_and_processor_time_are_compared_by_turn() -> None:
    [found] = compared(NEW, OLD)["loads"]  # what one side alone has is not compared
    assert found["name"] == "Sell"
    assert found["ratios"]["rate"]["values"] == (1.1, 1.5, 0.9)
    assert found["ratios"]["p50"]["values"] == pytest.approx((1 / 1.1, 1 / 1.5, 1 / 0.9))
    assert found["ratios"]["p99"]["median"] == pytest.approx(1 / 1.1)
    assert found["new"]["cpu"]["all"]["values"] == (60, 80, 100)
    assert found["old"]["cpu"]["all"]["values"] == (130, 80, 160)
    ratios = found["ratios"]["cpu"]
    assert {who: each["median"] for who, each in ratios.items()} == pytest.approx(
        {"service": 0.7, "engines": 0.5, "load": 1.0, "order_srv": 0.7, "redis": 0.5, "all": 100 / 160}
    )


def test_figures_are_compared_where_they_can_be_divided() -> None:
    [found] = compared(NEW, OLD)["figures"]
    assert (found["name"], found["new"]["median"], found["old"]["median"], found["ratio"]) == (
        "orders closed",
        3.0,
        2.0,
        None,
    )


def test_faults_in_the_books_say_whose_they_are() -> None:
    assert compared(NEW, OLD)["faults"] == ["old: a unit is missing"]


def report() -> dict[str, Any]:
    part = {
        "machine": FACTS,
        "options": {"rounds": 3, "seconds": 2.0},
        "took_seconds": 12.3,
        "compared": compared(NEW, OLD),
    }
    sides = {
        name: {"commit": commit, "python": "3.11.7", "grpcio": "1.80.0", "packages": {"inventory_srv": f"/{name}"}}
        for name, commit in (("new", "aaa-dirty"), ("old", "bbb"))
    }
    return {"world": "cluster", "sides": sides, "parts": {"stock": part}}


def test_the_tables_have_ratios_then_both_sides_then_processor_time_by_program() -> None:
    ratios, sides, times, figures = grids(report()["parts"]["stock"])
    assert ratios.rows == [
        [
            "Sell",
            "1.100 (0.900 to 1.500)",
            "0.909 (0.667 to 1.111)",
            "0.909 (0.667 to 1.111)",
            "0.700 (0.500 to 1.000)",
            "0.500 (0.333 to 1.000)",
            "0.625 (0.462 to 1.000)",
        ]
    ]
    assert [row[:5] for row in sides.rows] == [
        ["Sell", "64 callers", "old", "100", "100 to 200"],
        ["Sell", "64 callers", "new", "110", "90.0 to 300"],
    ]
    assert times.headings == (
        "load",
        "side",
        "services",
        "order_srv",
        "engines",
        "redis",
        "services and engines",
        "load generator",
    )
    assert times.rows == [
        ["Sell", "old", "100", "100", "30.0", "30.0", "130", "90.0"],
        ["Sell", "new", "60.0", "60.0", "20.0", "20.0", "80.0", "90.0"],
        ["Sell", "new ÷ old", "0.700", "0.700", "0.500", "0.500", "0.625", "1.000"],
    ]
    assert figures.rows == [["orders closed", "2.00 a second (0 to 3.00)", "3.00 a second (3.00 to 3.00)", ""]]


def test_the_page_names_both_commits_and_the_code_that_each_side_ran() -> None:
    text = page(report())
    assert text.startswith("# Benchmark: aaa-dirty against bbb, cluster\n")
    assert (
        "- new: aaa-dirty, Python 3.11.7, grpcio 1.80.0, /new\n- old: bbb, Python 3.11.7, grpcio 1.80.0, /old" in text
    )
    assert "3 turns of 2 s; took 12 s" in text
    assert "**The books did not balance:** old: a unit is missing" in text
    assert "| Sell | 1.100 (0.900 to 1.500) |" in text


def test_each_side_begins_as_often_as_the_other() -> None:
    assert [in_turn(["old", "new"], turn) for turn in range(3)] == [["old", "new"], ["new", "old"], ["old", "new"]]


def test_the_parts_of_which_commits_are_compared_take_turns() -> None:
    able = {part.name for part in PARTS if part.takes_turns}
    assert able >= {"stock", "create", "paced", "messages", "costs", "callers", "flash", "due"}
    assert able >= {"hang", "orderreplicas", "getstock"}
    assert not able & {"commits", "growthskus", "wayshot"}, "they do not measure the services of a checkout"
    assert not able & {"duesingly", "duetogether"}, "their tables and messages are this checkout's"


def test_a_python_that_imports_other_code_is_refused(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    for name in ("common", "inventory_srv", "order_srv"):
        (tmp_path / "other" / name).mkdir(parents=True)
    wrong = Checkout("old", tmp_path / "other", python, "abc")
    with pytest.raises(CannotCompare, match=rf"old \(abc\): it would run common of {ROOT}/common, not of"):
        wrong.probe(tmp_path)
    right = Checkout("new", ROOT, Path(sys.executable), "abc").probe(tmp_path)
    assert right["packages"] == {
        name: str(ROOT / where)
        for name, where in {
            "common": "common",
            "inventory_srv": "inventory_srv",
            "order_srv": "order_srv",
            "reback": "proto/reback",
        }.items()
    }
