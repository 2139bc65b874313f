"""What memory the services hold after very many calls: it must not grow with them."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import repeat
from typing import Final

import grpc

from scripts.bench.harness.figures import Axis, Plot, Point, Series, Target
from scripts.bench.harness.load import Kind, Plan
from scripts.bench.harness.replicas import INVENTORY, ORDER
from scripts.bench.harness.testbed import SOLD_OUT, Testbed

_SAMPLES: Final = 20
_A_SAMPLE_AT_LEAST: Final = 5_000  # calls: each load takes a moment to begin
_FEWEST_SAMPLES: Final = 2
_A_TURN: Final = 20  # calls to a service, of which each load has a share
_CREATORS: Final = 32
_MEGABYTE: Final = 1e6
_LARGEST: Final = Target(at_most=200, aim=150)
_FLAT: Final = Target(at_most=10)
"""Percent that a service may hold more in the end than after a quarter of the calls."""


def memory(testbed: Testbed) -> None:
    """Very many calls of every sort to each service, and what it holds as they go on."""
    held: dict[str, list[tuple[int, float]]] = {}
    done: Counter[str] = Counter()
    for turn in _turns(testbed):
        for service, plans in turn.items():
            done[f"{service}_srv"] += sum(testbed.load(plan).calls for plan in plans)
        for name, size in testbed.resident().items():
            held.setdefault(name, []).append((done[name], size / _MEGABYTE))
        line = ", ".join(f"{name} {seen[-1][1]:.0f} MB after {done[name]:,} calls" for name, seen in held.items())
        testbed.say(f"  {line}")
    for name, seen in held.items():
        sizes = [size for _, size in seen]
        testbed.figure(f"{name}, resident, most in {done[name]:,} calls", max(sizes), "MB", len(sizes), _LARGEST)
        grown = 100 * (sizes[-1] / sizes[len(sizes) // 4] - 1)
        testbed.figure(f"{name}, more in the end than after a quarter", grown, "%", len(sizes), _FLAT)
    series = tuple(Series(name, tuple(Point(calls, size) for calls, size in seen)) for name, seen in held.items())
    axes = Axis("calls"), Axis("resident memory", "MB")
    testbed.plot(Plot("memory", "What memory a service holds", "lines", *axes, series))


def _turns(testbed: Testbed) -> Iterator[Mapping[str, list[Plan]]]:
    """The loads of each service between two samples, so that its calls are as many as were chosen."""
    calls = testbed.options.calls
    samples = max(_FEWEST_SAMPLES, min(_SAMPLES, calls // _A_SAMPLE_AT_LEAST))
    a_sample = calls // samples
    create = testbed.full_speed(Kind.CREATE, testbed.skus, callers=_CREATORS)
    refused = replace(testbed.full_speed(Kind.SELL, (SOLD_OUT,)), expect=grpc.StatusCode.FAILED_PRECONDITION)
    shares: Mapping[str, list[tuple[int, Plan]]] = {
        INVENTORY: [
            (5, testbed.full_speed(Kind.EMPTY)),
            (7, testbed.full_speed(Kind.GET, testbed.skus)),
            (5, testbed.full_speed(Kind.SELL, testbed.skus)),
            (3, refused),
        ],
        ORDER: [
            (15, replace(testbed.full_speed(Kind.EMPTY), addresses=testbed.orders)),
            (4, testbed.full_speed(Kind.LIST_ORDERS, users=create.users)),
            (1, create),
        ],
    }
    turn = {
        service: [replace(plan, count=a_sample * share // _A_TURN, warm_up=0.0) for share, plan in plans]
        for service, plans in shares.items()
    }
    return repeat(turn, samples)
