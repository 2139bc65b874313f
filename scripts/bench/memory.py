"""What memory the services hold after very many calls: it must not grow with them."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import repeat
from typing import Final

import grpc

from scripts.bench.figures import Axis, Plot, Point, Series, Target
from scripts.bench.load import Kind, Plan
from scripts.bench.site import SOLD_OUT, Site

_SAMPLES: Final = 20
_A_SAMPLE_AT_LEAST: Final = 5_000  # calls: each load takes a moment to begin
_FEWEST_SAMPLES: Final = 4
_A_TURN: Final = 20  # of twenty calls …
_SHARES: Final = {"empty": 5, "GetStock": 6, "Sell": 5, "refused Sell": 2, "CreateOrder": 2}
_CREATORS: Final = 32
_MEGABYTE: Final = 1e6
_LARGEST: Final = Target(at_most=200, aim=150)
_FLAT: Final = Target(at_most=10)
"""Percent that a service may hold more in the end than after a quarter of the calls."""


def memory(site: Site) -> None:
    """Very many calls of every sort, and what each service holds as they go on."""
    held: dict[str, list[tuple[int, float]]] = {}
    done = 0
    for plans in _turns(site):
        for plan in plans:
            done += site.load(plan).calls
        for name, size in site.resident().items():
            held.setdefault(name, []).append((done, size / _MEGABYTE))
        site.say(f"  {done:,} calls: " + ", ".join(f"{name} {seen[-1][1]:.0f} MB" for name, seen in held.items()))
    for name, seen in held.items():
        sizes = [size for _, size in seen]
        site.figure(f"{name}, resident, most in {done:,} calls", max(sizes), "MB", len(sizes), _LARGEST)
        grown = 100 * (sizes[-1] / sizes[len(sizes) // 4] - 1)
        site.figure(f"{name}, more in the end than after a quarter", grown, "%", len(sizes), _FLAT)
    series = tuple(Series(name, tuple(Point(calls, size) for calls, size in seen)) for name, seen in held.items())
    axes = Axis("calls"), Axis("resident memory", "MB")
    site.plot(Plot("memory", "What memory a service holds", "lines", *axes, series))


def _turns(site: Site) -> Iterator[list[Plan]]:
    """The loads between two samples, so that the calls of all are as many as were chosen."""
    calls = site.options.calls
    samples = max(_FEWEST_SAMPLES, min(_SAMPLES, calls // _A_SAMPLE_AT_LEAST))
    a_sample = calls // samples
    plans: Mapping[str, Plan] = {
        "empty": site.full_speed(Kind.EMPTY),
        "GetStock": site.full_speed(Kind.GET, site.skus),
        "Sell": site.full_speed(Kind.SELL, site.skus),
        "refused Sell": replace(site.full_speed(Kind.SELL, (SOLD_OUT,)), expect=grpc.StatusCode.FAILED_PRECONDITION),
        "CreateOrder": site.full_speed(Kind.CREATE, site.skus, callers=_CREATORS),
    }
    turn = [replace(plan, count=a_sample * _SHARES[name] // _A_TURN, warm_up=0.0) for name, plan in plans.items()]
    return repeat(turn, samples)
